#include "train/loop.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "kernels/kernel_choices.h"
#include "kernels/precision.h"
#include "ops/ops.h"
#include "optim/ema.h"
#include "passes/prepare_for_training.h"
#include "runtime/session.h"
#include "tasks/evaluate.h"
#include "tensor/allocator.h"
#include "train/checkpoint.h"
#include "train/divergence.h"
#include "train/epoch_batches.h"
#include "train/fitting_batch.h"
#include "train/parameters.h"
#include "train/run_log.h"
#include "train/step_clock.h"
#include "train/training_step.h"

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

std::map<std::string, Tensor> as_map(const NamedTensors& tensors) { return {tensors.begin(), tensors.end()}; }

class Trainer {
 public:
  Trainer(Model& model, const Task& task, BatchSource& data, BatchSource& eval, const TrainOptions& options,
          const TrainCallbacks& callbacks)
      : model_(model),
        task_(task),
        data_(data),
        batches_(data),
        eval_(eval),
        o_(options),
        callbacks_(callbacks),
        graph_(model.graph.to(options.device)),
        fused_(graph_),
        objective_(task, o_.distill, model.graph, options.device),
        schedule_(options.schedule, batches_.count(), options.epochs),
        stop_(options.early_stop),
        log_(options, task.metric_name()) {
    check_options(options);
    check_finite_parameters(graph_);
    prepare_for_training(fused_, options.device);
    fused_.require_gradients();
    optimizer_ = make_optimizer(o_.optimizer, graph_);
    if (o_.ema > 0) ema_ = std::make_unique<Ema>(graph_, o_.ema);
    step_ = std::make_unique<TrainingStep>(fused_, task_, objective_, *optimizer_, ema_.get(), o_.clip,
                                           o_.device);
  }

  TrainResult run() {
    if (!o_.folder.empty()) open_folder();
    allocator::reset_peak(o_.device);
    while (!state_.finished) {
      train_epoch();
      end_epoch();
    }
    return finish();
  }

 private:
  // --- the folder ---

  Json identity() const {
    Json all = {{"recipe", fmt::format("{:016x}", o_.recipe_hash)},
                {"model", structure_hash(model_.graph)},
                {"training data", fmt::format("{:016x}", data_.hash())},
                {"evaluation data", fmt::format("{:016x}", eval_.hash())},
                {"batches an epoch", batches_.count()},
                {"epochs", o_.epochs},
                {"optimizer", optimizer_->name()},
                {"ema", o_.ema},
                {"seed", o_.seed}};
    if (o_.distill.teacher) all["teacher"] = o_.distill.hash;
    return all;
  }

  std::string machine() const {
    if (o_.device == Device::kCpu) return name(Device::kCpu);
    return str(kernels::cuda_name(), " with ", name(kernels::precision()));
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
    if (!state_.finished) log_.open(state_);
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
    if (!c.machine.empty() && c.machine != machine())
      spdlog::warn("{}: was written on {}, this is {}; sums are rounded otherwise, so the end may differ",
                   path.string(), c.machine, machine());
    else if (!kernels::repeat_kernel_choices(c.kernels))
      spdlog::warn(
          "{}: was written by a program with other kernels or libraries for this GPU; sums are split "
          "otherwise, so the end may differ in the last digits",
          path.string());
    take_parameters(graph_, c.parameters, path);
    try {
      state_ = run_state_from_json(c.progress);
      optimizer_->load_state(as_map(c.optimizer), state_.step);
      if (ema_) ema_->load_state(as_map(c.ema), state_.step);
    } catch (const nlohmann::json::exception& e) {
      fail(str(path.string(), ": its progress is damaged (", e.what(),
               "); remove it to train from the start"));
    } catch (const Error& e) {
      fail(str(path.string(), ": ", e.what(), "; remove it to train from the start"));
    }
    ESPALIER_CHECK(state_.possible(batches_.count()) && (c.best.empty() || state_.best_epoch >= 0),
                   path.string(), ": no training can stand where its progress says (epoch ", state_.epoch,
                   ", step ", state_.step_in_epoch, ", best epoch ", state_.best_epoch,
                   "); remove it to train from the start");
    best_ = c.best;
    stop_.state = state_.early_stop;
    resumed_ = true;
    // What a killed process wrote after this checkpoint is made again.
    std::error_code code;
    if (best_.empty())
      fs::remove(o_.folder / kBestFile, code);
    else
      save_best();
    if (state_.finished)
      spdlog::info("training has ended before: {} epochs, {}", state_.history.size(), path.string());
    else if (state_.step_in_epoch == batches_.count())
      spdlog::info("training goes on with the evaluation after epoch {} of {}", state_.epoch + 1, o_.epochs);
    else
      spdlog::info("training goes on at epoch {} of {}, step {} of {}", state_.epoch + 1, o_.epochs,
                   state_.step_in_epoch + 1, batches_.count());
  }

  void save() {
    if (o_.folder.empty()) return;
    const Stopwatch time;
    Checkpoint c;
    c.parameters = parameters_on_host(graph_, false);
    c.optimizer = optimizer_->state();
    if (ema_) c.ema = ema_->state();
    c.best = best_;
    c.identity = identity();
    c.threads = kernels::threads();
    c.machine = machine();
    c.kernels = kernels::kernel_choices();
    c.progress = to_json(state_);
    save_checkpoint(checkpoint_path(), c);
    saving_seconds_ = time.seconds();
    since_checkpoint_.restart();
  }

  void save_best() {
    if (o_.folder.empty()) return;
    Model best = model_;
    best.graph = model_.graph.clone().to(Device::kCpu);
    take_parameters(best.graph, best_, o_.folder / kBestFile);
    if (!best.metrics.is_object()) best.metrics = Json::object();
    Json& metric = best.metrics["training"]["best"] = metric_to_json(state_.best());
    metric["epoch"] = state_.best_epoch + 1;
    save_model(o_.folder / kBestFile, best);
  }

  [[noreturn]] void interrupted() {
    save();
    throw Interrupted(o_.folder.empty()
                          ? "interrupted; nothing was saved, because the training has no folder"
                          : str("interrupted at epoch ", state_.epoch + 1, ", step ", state_.step_in_epoch,
                                "; ", checkpoint_path().string(), " is written, the same command continues"));
  }

  // --- steps ---

  void train_epoch() {
    if (state_.step_in_epoch == batches_.count()) return;  // resumed before the evaluation
    batches_.start(state_.epoch, state_.step_in_epoch);
    while (state_.step_in_epoch < batches_.count()) {
      const Stopwatch step_time;
      const Batch batch = batches_.next();
      StepReport report = step_or_explain(batch);
      clock_.add(batch.size(), step_time.seconds(), batches_.take_waited());
      tell(report);
      if (interrupt_requested()) interrupted();
      const bool due =
          (o_.checkpoint_steps > 0 && state_.step_in_epoch % o_.checkpoint_steps == 0) ||
          (o_.checkpoint_minutes > 0 && since_checkpoint_.seconds() > 60 * o_.checkpoint_minutes);
      if (due && state_.step_in_epoch < batches_.count()) save();
    }
  }

  StepReport step_or_explain(const Batch& batch) {
    std::string what;
    try {
      return train_step(batch);
    } catch (const OutOfMemory& e) {
      what = e.what();
    }
    // The step's tensors are gone by now, so that smaller steps can be tried; nothing is saved after them.
    const int fits = largest_batch_that_fits(*step_, batch, o_.device);
    fail(str("training stopped at step ", state_.step, " (epoch ", state_.epoch + 1, ", step ",
             state_.step_in_epoch + 1, " of ", batches_.count(), ") with batches of ", batch.size(), ": ",
             what,
             fits > 0 ? str("; a batch of ", fits, " fits") : std::string("; not even a batch of 1 fits"),
             !o_.folder.empty() && fs::exists(checkpoint_path())
                 ? str("; ", checkpoint_path().string(), " holds what was done before")
                 : std::string()));
  }

  StepReport train_step(const Batch& batch) {
    StepReport report{.epoch = state_.epoch, .step = state_.step, .rate = schedule_.rate(state_.step)};
    set_dropout_step(o_.seed, static_cast<uint64_t>(state_.step));
    // The CPU has no time to read ahead in, and the loader does so already.
    const auto read_ahead = [this] {
      batches_.read_ahead([this](const Batch& next) { step_->stage(next); });
    };
    const StepResult came = o_.device == Device::kCpu ? step_->run(batch, report.rate)
                                                      : step_->run(batch, report.rate, read_ahead);
    report.loss = came.loss;
    report.gradient_norm = came.gradient_norm;
    if (!came.finite) diverged(report, batch);
    state_.loss_sum += report.loss;
    ++state_.step;
    ++state_.step_in_epoch;
    return report;
  }

  [[noreturn]] void diverged(const StepReport& at, const Batch& batch) {
    const std::string what = !std::isfinite(at.loss) ? str("the loss is ", at.loss)
                             : !std::isfinite(at.gradient_norm)
                                 ? str("the norm of the gradients is ", at.gradient_norm)
                                 : "a running statistic is not finite";
    const Tensor images = step_->repeat(batch);
    std::string layer = first_bad_activation(fused_, {images});
    if (layer.empty()) layer = first_bad_gradient(fused_);
    if (layer.empty()) layer = first_bad_statistic(fused_);
    fail(
        str("training stopped at step ", at.step, " (epoch ", state_.epoch + 1, ", step ",
            state_.step_in_epoch + 1, " of ", batches_.count(), "): ", what, " at learning rate ", at.rate,
            "; ", layer.empty() ? "no single layer shows it" : "first in " + layer,
            "; lower the rate, lengthen the warm-up or set clip",
            best_.empty() || o_.folder.empty()
                ? ""
                : fmt::format("; the best model so far ({} {:.4g}, epoch {}) is in {}", task_.metric_name(),
                              state_.best().value, state_.best_epoch + 1, (o_.folder / kBestFile).string())));
  }

  void tell(StepReport& report) {
    report.step_in_epoch = state_.step_in_epoch;
    report.steps_per_epoch = batches_.count();
    report.steps = batches_.count() * o_.epochs;
    report.mean_loss = state_.loss_sum / static_cast<double>(state_.step_in_epoch);
    report.images_per_second = clock_.images_per_second();
    report.loader_wait = clock_.loader_wait();
    report.seconds_left = static_cast<double>(report.steps - state_.step) * clock_.seconds_per_step() +
                          static_cast<double>(evaluations_left()) * evaluation_seconds_;
    log_.step(report);
    if (callbacks_.on_step) callbacks_.on_step(report);
  }

  bool evaluates_after(int epoch) const {
    return epoch == o_.epochs - 1 || (epoch + 1) % o_.evaluate_every == 0;
  }

  int evaluations_left() const {
    int left = 0;
    for (int e = state_.epoch; e < o_.epochs; ++e) left += evaluates_after(e);
    return left;
  }

  // --- epochs ---

  void end_epoch() {
    EpochReport report{.epoch = state_.epoch,
                       .steps = state_.step,
                       .loss = state_.loss_sum / static_cast<double>(batches_.count()),
                       .rate = schedule_.rate(state_.step - 1)};
    if (evaluates_after(state_.epoch)) {
      report.metric = measure();
      // Strictly better: of equal ones the earlier stays.
      report.best = state_.best_epoch < 0 || report.metric->value > state_.best().value;
      if (report.best) {
        state_.best_epoch = state_.epoch;
        best_ = parameters_on_host(evaluated(), true);
      }
      state_.stopped_early = stop_.update(report.metric->value);
      state_.early_stop = stop_.state;
    }
    state_.history.push_back(report);
    if (report.best) save_best();
    ++state_.epoch;
    state_.step_in_epoch = 0;
    state_.loss_sum = 0;
    state_.finished = state_.stopped_early || state_.epoch == o_.epochs;
    log_.epoch(report, clock_);
    if (state_.finished || worth_a_checkpoint(since_checkpoint_.seconds(), saving_seconds_)) save();
    if (callbacks_.on_epoch) callbacks_.on_epoch(report);
  }

  Graph evaluated() const { return ema_ ? ema_->averaged() : graph_; }

  MetricResult measure() {
    const Running place(str("the evaluation after epoch ", state_.epoch + 1));
    const Stopwatch time;
    MetricResult metric = measure_with_memory();
    metric.details.reset();
    evaluation_seconds_ = time.seconds();
    return metric;
  }

  /// Recorded steps hold on to their memory, which an evaluation may need. When it fails all the same, the
  /// epoch's steps are done: a resume begins with the evaluation.
  MetricResult measure_with_memory() {
    const auto once = [this] {
      Session session(evaluated());
      return evaluate(session, task_, eval_);
    };
    try {
      try {
        return once();
      } catch (const OutOfMemory&) {
        step_->forget();
      }
      return once();
    } catch (const Interrupted&) {
      interrupted();
    } catch (const OutOfMemory& e) {
      save();
      throw Error(o_.folder.empty() ? e.what()
                                    : str(e.what(), "; ", checkpoint_path().string(),
                                          " holds the epoch's steps, the same command evaluates them"));
    }
  }

  TrainResult finish() {
    const bool best = o_.keep == KeptModel::kBest && !best_.empty();
    take_parameters(model_.graph, best ? best_ : parameters_on_host(evaluated(), true), checkpoint_path());
    fused_.require_gradients(false);
    TrainResult result;
    result.epochs = state_.history;
    if (state_.best_epoch >= 0) result.best = state_.best();
    result.best_epoch = state_.best_epoch;
    for (const EpochReport& e : state_.history)
      if (e.metric) result.last = *e.metric;
    result.steps = state_.step;
    result.stopped_early = state_.stopped_early;
    result.resumed = resumed_;
    result.seconds = since_start_.seconds();
    result.images_per_second = clock_.total_images_per_second();
    result.loader_wait = clock_.total_loader_wait();
    result.peak_bytes = allocator::statistics(o_.device).peak;
    return result;
  }

  Model& model_;
  const Task& task_;
  BatchSource& data_;
  EpochBatches batches_;  ///< of data_
  BatchSource& eval_;
  const TrainOptions& o_;
  const TrainCallbacks& callbacks_;
  Graph graph_, fused_;  ///< the same parameters: as it is kept, and as it is trained
  Objective objective_;
  Schedule schedule_;
  EarlyStop stop_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Ema> ema_;
  std::unique_ptr<TrainingStep> step_;

  RunState state_;     ///< with best_ and the optimizer's and averages' state: what a checkpoint restores
  NamedTensors best_;  ///< the parameters of the best epoch
  bool resumed_ = false;
  double evaluation_seconds_ = 0, saving_seconds_ = 0;
  StepClock clock_;
  Stopwatch since_start_, since_checkpoint_;
  RunLog log_;
};

}  // namespace

TrainResult train(Model& model, const Task& task, BatchSource& train, BatchSource& eval,
                  const TrainOptions& options, const TrainCallbacks& callbacks) {
  return Trainer(model, task, train, eval, options, callbacks).run();
}

}  // namespace espalier
