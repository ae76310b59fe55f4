// From FP32 to INT8: ranges, the methods that mend what rounding breaks, and what it cost every layer.

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "compress/accuracy_control.h"
#include "compress/calibrate.h"
#include "compress/rounding.h"
#include "io/file.h"
#include "passes/equalize.h"
#include "passes/fake_quantize.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"
#include "train/loop.h"

namespace espalier {

namespace {

class Int8Job {
 public:
  explicit Int8Job(const StageJob& job)
      : job_(job), options_(job.stage.options), model_(load_float_model(job.model_in, job.stage.kind)) {
    job.bench.check_model(model_, job.model_in.string());
    const int batch = job.bench.recipe().data.batch;
    batches_ = options_.at("calibration_batches");
    calibration_ =
        job.bench.evaluation_batches(options_.at("list"), model_.preprocessing, batch, batches_ * batch);
    const Json& images = options_.at("measure_images");
    measured_on_ = job.bench.evaluation_batches(options_.at("measure_on"), model_.preprocessing, batch,
                                                images.is_null() ? -1 : images.get<int64_t>());
    task_ = job.bench.task_of(model_);
    measurements_ = std::make_unique<Measurements>(*task_, *measured_on_, beside("measurements.json"),
                                                   job.bench.device());
  }

  Json run() {
    form_.prepared = prepare_for_quantization(model_.graph);
    form_.options = quantize_options(options_);
    quantizable_items(form_.prepared,
                      form_.options);  // a pattern that matches nothing is said before the work
    equalise();
    const Observed observed = observe(form_.prepared.to(job_.bench.device()), *calibration_, batches_);
    images_ = observed.images;
    choose_filters();
    choose_ranges(observed);
    finetune();
    std::vector<LayerError> layers = layer_errors(form_, *calibration_);
    std::optional<double> fp32, int8;
    if (!options_.at("max_drop").is_null()) {
      const AccuracyControl found =
          control_accuracy(form_, {.max_drop = options_.at("max_drop"), .fp32 = &fp32_}, *measurements_,
                           layers, [&](const AccuracyControl& better) { save(better.form); });
      fp32 = found.metric_fp32, int8 = found.metric_int8;
      tell(found);
      form_ = found.form;
      if (!returned_.empty()) mend_sqnr(layers);
    }
    if (options_.at("layer_metrics")) {
      fp32 = measurements_->of(fp32_, "FP32").metric;
      int8 = measurements_->of(form_.quantised(), "INT8").metric;
      measure_each_layer(form_, *measurements_, layers);
    }
    if (!job_.folder.empty())
      write_atomically(
          beside("layer_errors.json"),
          layer_errors_json(layers, measurements_->metric_name(), fp32, int8, kErrorImages).dump(2) + "\n");
    spdlog::info("{}: the layers that INT8 changes most\n{}", job_.stage.name,
                 layer_errors_table(layers, fp32));
    return finish();
  }

 private:
  static constexpr int64_t kErrorImages = 16;
  static constexpr double kClip = 10;  // a first step with all scales wrong must not throw the weights away

  std::filesystem::path beside(const char* name) const {
    return job_.folder.empty() ? std::filesystem::path() : job_.folder / name;
  }

  void equalise() {
    fp32_ = form_.prepared;
    const std::string how = options_.at("equalize");
    if (how == "none") return;
    const int pairs = equalize(form_.prepared, {.drop_caps = how == "without_caps"});
    spdlog::info("{}: channels evened out between {} pairs of layers", job_.stage.name, pairs);
  }

  void choose_filters() {
    if (options_.at("rounding") != "optimised") return;
    std::map<std::string, RoundedLayer> report;
    form_.options.rounding = choose_rounding(form_.prepared, *calibration_,
                                             {.per_channel = form_.options.per_channel,
                                              .bias_correction = options_.at("bias_correction"),
                                              .batches = batches_},
                                             &report);
    double before = 0, after = 0;
    for (const auto& [name, layer] : report) before += layer.error_before, after += layer.error_after;
    spdlog::info("{}: squared error of the layers' outputs by rounding: {:.1f} % of that to the nearest",
                 job_.stage.name, before > 0 ? 100 * after / before : 100.0);
  }

  void use(const Observed& observed, const std::string& calibrator) {
    const bool compat = form_.options.paddlex_compat;
    Calibration found = calibration_of(
        observed,
        {.calibrator = calibrator, .percentile = options_.at("percentile"), .paddlex_compat = compat});
    form_.ranges = std::move(found.ranges);
    if (options_.at("bias_correction").get<bool>() && !compat) form_.options.means = std::move(found.means);
  }

  void choose_ranges(const Observed& observed) {
    calibrator_ = options_.at("calibrator");
    if (calibrator_ != "auto") return use(observed, calibrator_);
    std::optional<Measurements::Point> best;
    for (const CalibratorEntry& entry : calibrator_table()) {
      use(observed, entry.name);
      const Measurements::Point point = measurements_->of(form_.quantised(), "calibrator " + entry.name);
      if (best && (point.metric < best->metric || (point.metric == best->metric && point.loss >= best->loss)))
        continue;
      best = point;
      calibrator_ = entry.name;
    }
    spdlog::info("{}: calibrator {} gives the best {}", job_.stage.name, calibrator_,
                 measurements_->metric_name());
    use(observed, calibrator_);
  }

  /// Quantisation-aware training: the last resort, since it is the only step that needs labels and time.
  void finetune() {
    const Json& o = options_.at("finetune");
    const int epochs = o.at("epochs");
    if (epochs == 0) return;
    ESPALIER_CHECK(
        !form_.options.paddlex_compat, job_.stage.name,
        ": finetune learns scales, which paddlex_compat takes from histograms; leave one of them out");
    const Recipe& recipe = job_.bench.recipe();
    const auto data = job_.bench.training_batches(training_batch(o, recipe));
    Model rounded = model_;
    rounded.graph = add_fake_quantization(form_.prepared, form_.ranges, form_.options);
    TrainOptions train{.epochs = epochs,
                       .optimizer = {.name = "sgd", .momentum = 0.9, .weight_decay = 0},
                       .schedule = {.name = "cosine", .rate = o.at("lr")},
                       .clip = kClip,
                       .seed = recipe.seed};
    train.device = job_.bench.device();
    if (!job_.folder.empty()) train.folder = job_.folder / "finetune";
    if (const double weight = o.at("teacher"); weight > 0)
      train.distill = {.teacher = std::make_shared<Graph>(fp32_),
                       .name = job_.model_in.string(),
                       .hash = file_hash(job_.model_in),
                       .weight = weight};
    const std::string identity = options_.dump() + file_hash(job_.model_in);
    train.recipe_hash = fnv1a(identity.data(), identity.size());
    const TrainResult result =
        espalier::train(rounded, *task_, *data, *measured_on_, train, show_progress(*task_, train));
    take_fake_quantization(rounded.graph.to(Device::kCpu), form_.prepared, form_.ranges, form_.options);
    spdlog::info("{}: {} {:.2f} % after {} epochs of training with rounding", job_.stage.name,
                 measurements_->metric_name(), 100 * result.best.value, result.epochs.size());
  }

  void tell(const AccuracyControl& found) {
    returned_ = found.returned;
    spdlog::info("{}: {} falls by {:.2f} points with {} layers back in FP32; {:.2f} were allowed{}",
                 job_.stage.name, measurements_->metric_name(), 100 * (found.metric_fp32 - found.metric_int8),
                 returned_.size(), 100 * options_.at("max_drop").get<double>(),
                 found.reached ? "" : ", which no set of layers reached");
  }

  /// The errors of the form that was kept; what each layer costs alone stays true.
  void mend_sqnr(std::vector<LayerError>& layers) {
    const std::vector<LayerError> now = layer_errors(form_, *calibration_);
    for (size_t i = 0; i < layers.size(); ++i) {
      layers[i].sqnr_db = now[i].sqnr_db;
      layers[i].kept_fp32 = now[i].kept_fp32;
    }
  }

  QuantizeReport save(const Int8Form& form) const {
    Model model = model_;
    model.graph = form.quantised();
    QuantizeReport report = quantize_report(model.graph, form.ranges, images_);
    add_lineage(model, job_, {{"calibration", to_json(report)}, {"options", options_}});
    model.metrics = Json::object();  // those of the FP32 network
    save_model(job_.model_out, model);
    return report;
  }

  Json finish() const {
    const QuantizeReport report = save(form_);
    std::string summary =
        fmt::format("{} items in INT8, calibrated on {} images", report.quantized, report.images);
    for (const std::string& item : report.fp32)
      summary += (item == report.fp32[0] ? "; in FP32: " : ", ") + item;
    spdlog::info("{}: {}", job_.stage.name, summary);
    return {{"quantized", report.quantized}, {"fp32", report.fp32},   {"images", report.images},
            {"calibrator", calibrator_},     {"returned", returned_}, {"summary", summary}};
  }

  const StageJob& job_;
  const Json& options_;
  Model model_;
  int64_t batches_ = 0, images_ = 0;
  std::unique_ptr<BatchSource> calibration_, measured_on_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Measurements> measurements_;
  Graph fp32_;  ///< before anything is done for INT8
  Int8Form form_;
  std::string calibrator_;
  std::vector<std::string> returned_;
};

}  // namespace

QuantizeOptions quantize_options(const Json& options) {
  return {.per_channel = options.at("weights") == "per_channel",
          .paddlex_compat = options.at("paddlex_compat"),
          .keep_fp32 = patterns_of(options, "keep_fp32")};
}

Json int8_stage(const StageJob& job) {
  try {
    return Int8Job(job).run();
  } catch (const Interrupted&) {
    throw Interrupted(str(job.stage.name, ": interrupted; ",
                          job.folder.empty() ? "nothing was kept, because no folder was given for it"
                                             : str("what was measured is in ", job.folder.string(),
                                                   ", the same command continues")));
  }
}

}  // namespace espalier
