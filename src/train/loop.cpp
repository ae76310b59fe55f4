#include "train/loop.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "optim/ema.h"
#include "passes/fuse_training.h"
#include "report/csv.h"
#include "report/tensorboard.h"
#include "runtime/session.h"
#include "tasks/evaluate.h"
#include "tensor/allocator.h"
#include "train/checkpoint.h"
#include "train/divergence.h"
#include "train/step_clock.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

void check_options(const TrainOptions& o) {
  ESPALIER_CHECK(o.epochs >= 1, "training: epochs is ", o.epochs, "; it must be at least 1");
  ESPALIER_CHECK(o.ema >= 0 && o.ema < 1, "training: ema is ", o.ema, "; it must lie in [0, 1)");
  ESPALIER_CHECK(o.clip >= 0 && std::isfinite(o.clip), "training: clip is ", o.clip,
                 "; it cannot be negative");
  ESPALIER_CHECK(o.evaluate_every >= 1, "training: evaluate_every is ", o.evaluate_every,
                 "; it must be at least 1");
  ESPALIER_CHECK(o.early_stop.patience >= 0 && o.early_stop.threshold >= 0,
                 "training: early_stop has patience ", o.early_stop.patience, " and threshold ",
                 o.early_stop.threshold, "; neither can be negative");
  ESPALIER_CHECK(o.checkpoint_steps >= 0 && o.checkpoint_minutes >= 0, "training: a checkpoint every ",
                 o.checkpoint_steps, " steps or ", o.checkpoint_minutes, " minutes; neither can be negative");
}

/// Of what the parameters belong to, without their values.
std::string structure_hash(const Graph& graph) {
  std::string text = graph_to_json(graph).dump();
  for (const Graph::Value& v : graph.values)
    if (v.param.defined()) text += str(v.name, v.meta);
  return fmt::format("{:016x}", fnv1a(text.data(), text.size()));
}

NamedTensors parameters_of_all(const Graph& graph, bool copied) {
  NamedTensors tensors;
  for (const Graph::Value& v : graph.values)
    if (v.param.defined()) {
      const Tensor host = v.param.to(Device::kCpu).detached();
      tensors.emplace_back(v.name, copied && host.data() == v.param.data() ? host.clone() : host);
    }
  return tensors;
}

void take_parameters(const Graph& graph, const NamedTensors& tensors, const fs::path& file) {
  const std::map<std::string, Tensor> by_name(tensors.begin(), tensors.end());
  for (const Graph::Value& v : graph.values) {
    if (!v.param.defined()) continue;
    const auto found = by_name.find(v.name);
    ESPALIER_CHECK(found != by_name.end() && found->second.meta() == v.meta, file.string(),
                   ": has no fitting parameter ", v.name, "; remove it to train from the start");
    v.param.copy_from(found->second.to(v.param.device()));
  }
}

std::map<std::string, Tensor> as_map(const NamedTensors& tensors) { return {tensors.begin(), tensors.end()}; }

Json to_json(const MetricResult& m) {
  return {{"name", m.name}, {"value", m.value},     {"low", m.low},
          {"high", m.high}, {"samples", m.samples}, {"loss", m.loss}};
}

MetricResult metric_from_json(const Json& j) {
  MetricResult m;
  m.name = j.at("name");
  m.value = j.at("value");
  m.low = j.at("low");
  m.high = j.at("high");
  m.samples = j.at("samples");
  m.loss = j.at("loss");
  return m;
}

Json to_json(const EpochReport& e) {
  return {{"epoch", e.epoch}, {"steps", e.steps}, {"loss", e.loss},
          {"rate", e.rate},   {"best", e.best},   {"metric", e.metric ? to_json(*e.metric) : Json(nullptr)}};
}

EpochReport epoch_from_json(const Json& j) {
  EpochReport e;
  e.epoch = j.at("epoch");
  e.steps = j.at("steps");
  e.loss = j.at("loss");
  e.rate = j.at("rate");
  e.best = j.at("best");
  if (!j.at("metric").is_null()) e.metric = metric_from_json(j.at("metric"));
  return e;
}

class Trainer {
 public:
  Trainer(Model& model, const Task& task, BatchSource& data, BatchSource& eval, const TrainOptions& options,
          const TrainCallbacks& callbacks)
      : model_(model),
        task_(task),
        data_(data),
        eval_(eval),
        o_(options),
        callbacks_(callbacks),
        graph_(model.graph.to(options.device)),
        fused_(graph_),
        statistics_(graph_),
        schedule_(options.schedule, checked_batches(data), options.epochs),
        stop_(options.early_stop) {
    check_options(options);
    check_finite_parameters(graph_);
    fuse_training(fused_);
    fused_.require_gradients();
    optimizer_ = make_optimizer(o_.optimizer, graph_);
    if (o_.ema > 0) ema_ = std::make_unique<Ema>(graph_, o_.ema);
    steps_per_epoch_ = data.batches();
  }

  TrainResult run() {
    if (!o_.folder.empty()) open_folder();
    allocator::reset_peak(o_.device);
    while (!finished_) {
      train_epoch();
      end_epoch();
    }
    return finish();
  }

 private:
  static int64_t checked_batches(BatchSource& data) {
    ESPALIER_CHECK(data.batches() > 0, "training: the data set of ", data.samples(),
                   " pictures fills no batch; make the batch smaller or add pictures");
    return data.batches();
  }

  // --- the folder
  // ---------------------------------------------------------------------------------------------

  Json identity() const {
    return {{"recipe", fmt::format("{:016x}", o_.recipe_hash)},
            {"model", structure_hash(model_.graph)},
            {"training data", fmt::format("{:016x}", data_.hash())},
            {"evaluation data", fmt::format("{:016x}", eval_.hash())},
            {"batches an epoch", steps_per_epoch_},
            {"epochs", o_.epochs},
            {"optimizer", optimizer_->name()},
            {"ema", o_.ema},
            {"seed", o_.seed}};
  }

  void open_folder() {
    std::error_code code;
    fs::create_directories(o_.folder, code);
    ESPALIER_CHECK(!code, o_.folder.string(), ": the folder cannot be made (", code.message(),
                   "); check the path and its permissions");
    if (fs::exists(checkpoint_path()))
      resume();
    else
      fs::remove(o_.folder / kBestFile, code);  // of a run that nobody can continue
    if (finished_) return;
    const int64_t done = static_cast<int64_t>(history_.size());
    table_ = std::make_unique<CsvTable>(
        o_.folder / "epochs.csv",
        std::vector<std::string>{"epoch", "steps", "loss", "rate", task_.metric_name(), "low", "high",
                                 "eval_loss", "images_per_second", "loader_wait"},
        done + 1);
    if (o_.tensorboard)
      events_ = std::make_unique<TensorBoardWriter>(o_.folder / "tensorboard", resumed_ ? step_ : 0);
  }

  fs::path checkpoint_path() const { return o_.folder / kCheckpointFile; }

  void resume() {
    const fs::path path = checkpoint_path();
    const Checkpoint c = load_checkpoint(path);
    check_identity(path, c.identity, identity());
    if (c.threads != kernels::threads())
      spdlog::warn(
          "{}: was written with {} threads, now there are {}; sums are split otherwise, so the end "
          "may differ in the last digits",
          path.string(), c.threads, kernels::threads());
    take_parameters(graph_, c.parameters, path);
    const Json& p = c.progress;
    try {
      optimizer_->load_state(as_map(c.optimizer), p.at("optimizer_steps"));
      if (ema_) ema_->load_state(as_map(c.ema), p.at("ema_updates"));
      epoch_ = p.at("epoch");
      step_in_epoch_ = p.at("step_in_epoch");
      step_ = p.at("step");
      loss_sum_ = p.at("loss_sum");
      finished_ = p.at("finished");
      stopped_early_ = p.at("stopped_early");
      best_epoch_ = p.at("best_epoch");
      const Json& stop = p.at("early_stop");
      stop_.state = {stop.at("started"), stop.at("best"), stop.at("waited")};
      for (const Json& e : p.at("history")) history_.push_back(epoch_from_json(e));
    } catch (const nlohmann::json::exception& e) {
      fail(str(path.string(), ": its progress is damaged (", e.what(),
               "); remove it to train from the start"));
    }
    best_ = c.best;
    if (best_epoch_ >= 0) best_metric_ = *history_.at(static_cast<size_t>(best_epoch_)).metric;
    resumed_ = true;
    // What a killed process wrote after this checkpoint is made again.
    std::error_code code;
    if (best_.empty())
      fs::remove(o_.folder / kBestFile, code);
    else
      save_best();
    if (finished_)
      spdlog::info("training has ended before: {} epochs, {}", history_.size(), path.string());
    else
      spdlog::info("training goes on at epoch {} of {}, step {} of {}", epoch_ + 1, o_.epochs,
                   step_in_epoch_ + 1, steps_per_epoch_);
  }

  void save() {
    if (o_.folder.empty()) return;
    Checkpoint c;
    c.parameters = parameters_of_all(graph_, false);
    c.optimizer = optimizer_->state();
    if (ema_) c.ema = ema_->state();
    c.best = best_;
    c.identity = identity();
    c.threads = kernels::threads();
    Json history = Json::array();
    for (const EpochReport& e : history_) history.push_back(to_json(e));
    c.progress = {
        {"epoch", epoch_},
        {"step_in_epoch", step_in_epoch_},
        {"step", step_},
        {"loss_sum", loss_sum_},
        {"finished", finished_},
        {"stopped_early", stopped_early_},
        {"best_epoch", best_epoch_},
        {"optimizer_steps", optimizer_->steps()},
        {"ema_updates", ema_ ? ema_->updates() : 0},
        {"early_stop",
         {{"started", stop_.state.started}, {"best", stop_.state.best}, {"waited", stop_.state.waited}}},
        {"history", history}};
    save_checkpoint(checkpoint_path(), c);
    since_checkpoint_.restart();
  }

  void save_best() {
    if (o_.folder.empty()) return;
    Model best = model_;
    best.graph = model_.graph.clone().to(Device::kCpu);
    take_parameters(best.graph, best_, o_.folder / kBestFile);
    if (!best.metrics.is_object()) best.metrics = Json::object();
    best.metrics["training"] = to_json(best_metric_);
    best.metrics["training"]["epoch"] = best_epoch_ + 1;
    save_model(o_.folder / kBestFile, best);
  }

  [[noreturn]] void interrupted() {
    save();
    throw Interrupted(o_.folder.empty()
                          ? "interrupted; nothing was saved, because the training has no folder"
                          : str("interrupted at epoch ", epoch_ + 1, ", step ", step_in_epoch_, "; ",
                                checkpoint_path().string(), " is written, the same command continues"));
  }

  // --- steps
  // ---------------------------------------------------------------------------------------------------

  void train_epoch() {
    if (step_in_epoch_ == steps_per_epoch_) return;  // resumed before the evaluation
    data_.start(epoch_, step_in_epoch_);
    Batch batch;
    while (step_in_epoch_ < steps_per_epoch_) {
      const Stopwatch step_time;
      ESPALIER_CHECK(data_.next(batch), "training: the data ended after ", step_in_epoch_,
                     " batches of epoch ", epoch_ + 1, ", ", steps_per_epoch_, " were promised");
      const double waited = step_time.seconds();
      StepReport report = train_step(batch);
      clock_.add(batch.size(), step_time.seconds(), waited);
      tell(report);
      if (interrupt_requested()) interrupted();
      const bool due =
          (o_.checkpoint_steps > 0 && step_in_epoch_ % o_.checkpoint_steps == 0) ||
          (o_.checkpoint_minutes > 0 && since_checkpoint_.seconds() > 60 * o_.checkpoint_minutes);
      if (due && step_in_epoch_ < steps_per_epoch_) save();
    }
  }

  StepReport train_step(const Batch& batch) {
    StepReport report{.epoch = epoch_, .step = step_, .rate = schedule_.rate(step_)};
    set_dropout_step(o_.seed, static_cast<uint64_t>(step_));
    const TrainingMode training;
    const Tensor images = batch.images.to(o_.device);
    const Tensor loss = task_.loss(fused_.run({images}), batch);
    report.loss = loss.item();
    if (!std::isfinite(report.loss)) diverged(str("the loss is ", report.loss), report, images);
    backward(loss);
    report.gradient_norm = optimizer_->gradient_norm();
    if (!std::isfinite(report.gradient_norm))
      diverged(str("the norm of the gradients is ", report.gradient_norm), report, images);
    if (!statistics_.finite()) diverged("a running statistic is not finite", report, images);
    const bool clipped = o_.clip > 0 && report.gradient_norm > o_.clip;
    optimizer_->step(report.rate, clipped ? o_.clip / report.gradient_norm : 1);
    if (ema_) ema_->update();
    loss_sum_ += report.loss;
    ++step_;
    ++step_in_epoch_;
    return report;
  }

  [[noreturn]] void diverged(const std::string& what, const StepReport& at, const Tensor& images) {
    std::string layer = first_bad_activation(fused_, {images});
    if (layer.empty()) layer = first_bad_gradient(fused_);
    if (layer.empty()) layer = first_bad_statistic(fused_);
    fail(str("training stopped at step ", at.step, " (epoch ", epoch_ + 1, ", step ", step_in_epoch_ + 1,
             " of ", steps_per_epoch_, "): ", what, " at learning rate ", at.rate, "; ",
             layer.empty() ? "no single layer shows it" : "first in " + layer,
             "; lower the rate, lengthen the warm-up or set clip",
             best_.empty() || o_.folder.empty()
                 ? ""
                 : fmt::format("; the best model so far ({} {:.4g}, epoch {}) is in {}", task_.metric_name(),
                               best_metric_.value, best_epoch_ + 1, (o_.folder / kBestFile).string())));
  }

  void tell(StepReport& report) {
    report.step_in_epoch = step_in_epoch_;
    report.steps_per_epoch = steps_per_epoch_;
    report.steps = steps_per_epoch_ * o_.epochs;
    report.mean_loss = loss_sum_ / static_cast<double>(step_in_epoch_);
    report.images_per_second = clock_.images_per_second();
    report.loader_wait = clock_.loader_wait();
    report.seconds_left = static_cast<double>(report.steps - step_) * clock_.seconds_per_step() +
                          static_cast<double>(evaluations_left()) * evaluation_seconds_;
    if (events_) {
      events_->scalar("train/loss", report.step, report.loss);
      events_->scalar("train/rate", report.step, report.rate);
      events_->scalar("train/gradient_norm", report.step, report.gradient_norm);
      events_->scalar("train/images_per_second", report.step, report.images_per_second);
      events_->scalar("train/loader_wait", report.step, report.loader_wait);
    }
    if (callbacks_.on_step) callbacks_.on_step(report);
  }

  bool evaluates_after(int epoch) const {
    return epoch == o_.epochs - 1 || (epoch + 1) % o_.evaluate_every == 0;
  }

  int evaluations_left() const {
    int left = 0;
    for (int e = epoch_; e < o_.epochs; ++e) left += evaluates_after(e);
    return left;
  }

  // --- epochs
  // --------------------------------------------------------------------------------------------------

  void end_epoch() {
    EpochReport report{.epoch = epoch_,
                       .steps = step_,
                       .loss = loss_sum_ / static_cast<double>(steps_per_epoch_),
                       .rate = schedule_.rate(step_ - 1)};
    if (evaluates_after(epoch_)) {
      report.metric = measure();
      // Strictly better: of equal ones the earlier stays.
      report.best = best_epoch_ < 0 || report.metric->value > best_metric_.value;
      if (report.best) {
        best_metric_ = *report.metric;
        best_epoch_ = epoch_;
        best_ = parameters_of_all(evaluated(), true);
      }
      stopped_early_ = stop_.update(report.metric->value);
    }
    history_.push_back(report);
    if (report.best) save_best();
    ++epoch_;
    step_in_epoch_ = 0;
    loss_sum_ = 0;
    finished_ = stopped_early_ || epoch_ == o_.epochs;
    record(report);
    save();
    if (callbacks_.on_epoch) callbacks_.on_epoch(report);
  }

  Graph evaluated() const { return ema_ ? ema_->averaged() : graph_; }

  MetricResult measure() {
    const Running place(str("the evaluation after epoch ", epoch_ + 1));
    const Stopwatch time;
    Session session(evaluated());
    try {
      MetricResult metric = evaluate(session, task_, eval_);
      metric.details.reset();
      evaluation_seconds_ = time.seconds();
      return metric;
    } catch (const Interrupted&) {
      interrupted();  // the epoch's steps are done: a resume begins with the evaluation
    }
  }

  void record(const EpochReport& e) {
    const auto number = [](double value) { return fmt::format("{:.9g}", value); };
    if (table_) {
      std::vector<std::string> cells = {std::to_string(e.epoch + 1), std::to_string(e.steps), number(e.loss),
                                        number(e.rate)};
      for (const double value :
           e.metric ? std::vector{e.metric->value, e.metric->low, e.metric->high, e.metric->loss}
                    : std::vector<double>{})
        cells.push_back(number(value));
      cells.resize(8);
      cells.push_back(number(clock_.total_images_per_second()));
      cells.push_back(number(clock_.total_loader_wait()));
      table_->add(cells);
    }
    if (events_) events_->scalar("epoch/loss", e.steps, e.loss);
    if (events_ && e.metric) {
      events_->scalar(str("eval/", e.metric->name), e.steps, e.metric->value);
      events_->scalar("eval/loss", e.steps, e.metric->loss);
    }
    std::string text =
        fmt::format("epoch {}/{}: loss {:.4f}, lr {:.3g}", e.epoch + 1, o_.epochs, e.loss, e.rate);
    if (e.metric)
      text += fmt::format(", {} {:.2f} % ({:.1f}-{:.1f}){}", e.metric->name, 100 * e.metric->value,
                          100 * e.metric->low, 100 * e.metric->high, e.best ? ", the best so far" : "");
    text += fmt::format(", {:.0f} images/s", clock_.total_images_per_second());
    if (clock_.total_loader_wait() > 0.05)
      text += fmt::format(", {:.0f} % of it waiting for pictures", 100 * clock_.total_loader_wait());
    spdlog::info("{}", text);
  }

  TrainResult finish() {
    const bool best = o_.keep == KeptModel::kBest && !best_.empty();
    take_parameters(model_.graph, best ? best_ : parameters_of_all(evaluated(), true), checkpoint_path());
    fused_.require_gradients(false);
    TrainResult result;
    result.epochs = history_;
    result.best = best_metric_;
    result.best_epoch = best_epoch_;
    for (const EpochReport& e : history_)
      if (e.metric) result.last = *e.metric;
    result.steps = step_;
    result.stopped_early = stopped_early_;
    result.resumed = resumed_;
    result.seconds = since_start_.seconds();
    result.images_per_second = clock_.total_images_per_second();
    result.loader_wait = clock_.total_loader_wait();
    result.peak_bytes = allocator::statistics(o_.device).peak;
    return result;
  }

  Model& model_;
  const Task& task_;
  BatchSource &data_, &eval_;
  const TrainOptions& o_;
  const TrainCallbacks& callbacks_;
  Graph graph_, fused_;  ///< the same parameters: as it is kept, and as it is trained
  StatisticsWatch statistics_;
  Schedule schedule_;
  EarlyStop stop_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Ema> ema_;
  int64_t steps_per_epoch_ = 0;

  // What a checkpoint restores.
  int epoch_ = 0;
  int64_t step_ = 0, step_in_epoch_ = 0;
  double loss_sum_ = 0;
  bool finished_ = false, stopped_early_ = false;
  std::vector<EpochReport> history_;
  NamedTensors best_;
  MetricResult best_metric_;
  int best_epoch_ = -1;

  bool resumed_ = false;
  double evaluation_seconds_ = 0;
  StepClock clock_;
  Stopwatch since_start_, since_checkpoint_;
  std::unique_ptr<CsvTable> table_;
  std::unique_ptr<TensorBoardWriter> events_;
};

}  // namespace

TrainResult train(Model& model, const Task& task, BatchSource& train, BatchSource& eval,
                  const TrainOptions& options, const TrainCallbacks& callbacks) {
  return Trainer(model, task, train, eval, options, callbacks).run();
}

}  // namespace espalier
