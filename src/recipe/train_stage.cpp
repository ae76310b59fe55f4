// Training: a new network, one with imported weights, or one that an earlier stage made.

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/random.h"
#include "io/weight_import.h"
#include "recipe/open_model.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"
#include "train/loop.h"

namespace espalier {

namespace {

TimeUnit unit_of(const std::string& name) {
  return name == "run" ? TimeUnit::kRun : name == "epochs" ? TimeUnit::kEpochs : TimeUnit::kSteps;
}

DistillOptions distillation(const StageJob& job) {
  if (job.teacher.empty()) return {};
  const Json& options = job.stage.options.at("distill");
  return {.teacher = std::make_shared<Graph>(load_teacher(job.bench, job.teacher).graph),
          .name = job.teacher.string(),
          .hash = file_hash(job.teacher),
          .weight = options.at("weight"),
          .temperature = options.at("temperature")};
}

}  // namespace

Json loss_options(const Json& options) {
  Json task = Json::object();
  if (options.at("label_smoothing").get<double>() > 0)
    task["label_smoothing"] = options.at("label_smoothing");
  if (!options.at("class_weights").is_null()) task["class_weights"] = options.at("class_weights");
  return task;
}

int training_batch(const Json& options, const Recipe& recipe) {
  return options.at("batch").is_null() ? recipe.data.batch : options.at("batch").get<int>();
}

int input_size(const Model& model) {
  return static_cast<int>(model.graph.values[model.graph.inputs.at(0)].meta.shape[1]);
}

namespace {

void check_input_size(const Model& model, int size, const std::string& file) {
  const int input = input_size(model);
  ESPALIER_CHECK(input == size, file, ": was made for ", input, "x", input, " pictures but data.size is ",
                 size, "; set data.size=", input);
}

}  // namespace

Json normalization(const Json& transforms) {
  for (const Json& entry : transforms)
    if (entry.value("name", "") == "normalize") return entry;
  return nullptr;
}

Model load_teacher(Workbench& bench, const std::filesystem::path& path) {
  const std::string file = path.string();
  Model teacher = open_model(path);
  bench.check_model(teacher, file);
  check_input_size(teacher, bench.recipe().data.size, file);
  const Json theirs = normalization(teacher.preprocessing),
             ours = normalization(bench.recipe().data.eval_transforms);
  ESPALIER_CHECK(theirs == ours, file, ": the teacher's pixels are scaled by ", theirs.dump(),
                 " but data.transforms.eval has ", ours.dump(),
                 "; take a teacher that was trained on the same");
  return teacher;
}

Model load_trainable(Workbench& bench, const std::filesystem::path& path) {
  Model model = load_float_model(path, "train");
  bench.check_model(model, path.string());
  check_input_size(model, bench.recipe().data.size, path.string());
  return model;
}

int class_count(Workbench& bench) {
  const int given = bench.recipe().model.classes, classes = static_cast<int>(bench.labels().size());
  ESPALIER_CHECK(given == 0 || given == classes, "is ", given, " but the data have ", classes,
                 "; leave the key out, the data decide");
  return classes;
}

Model untrained_model(Workbench& bench) {
  const Recipe& recipe = bench.recipe();
  Model model;
  ModelSpec spec = recipe.model;
  spec.classes = class_count(bench);
  model.task = find_model(spec.name).task;
  model.labels = bench.labels();
  model.architecture = complete_spec(spec);
  model.graph = build_model(spec, recipe.data.size, recipe.seed);
  model.metrics = Json::object();
  model.lineage = Json::array();
  return model;
}

Model new_model(Workbench& bench) {
  const Recipe& recipe = bench.recipe();
  Model model = untrained_model(bench);
  if (!recipe.weights.empty()) {
    const ImportReport report = import_weights(model.graph, recipe.model.name, recipe.weights);
    std::string fresh;
    for (const std::string& name : report.initialised)
      fresh += (fresh.empty() ? "; newly initialised: " : ", ") + name;
    spdlog::info("{}: {} parameters taken{}", recipe.weights.string(), report.loaded, fresh);
    model.lineage.push_back({{"stage", "import"},
                             {"file", recipe.weights.filename().string()},
                             {"hash", file_hash(recipe.weights)},
                             {"initialised", report.initialised}});
  }
  return model;
}

ScheduleOptions schedule_options(const Json& options) {
  const Json& schedule = options.at("schedule");
  const bool given = !schedule.at("at").is_null();
  std::vector<double> at;
  if (given)
    at = schedule.at("at").get<std::vector<double>>();
  else if (schedule.at("name") == "piecewise")
    at = {0.5, 0.8};
  return {.name = schedule.at("name"),
          .rate = options.at("optimizer").at("lr"),
          .at = at,
          .at_unit = given ? unit_of(schedule.at("unit")) : TimeUnit::kRun,
          .gamma = schedule.at("gamma"),
          .power = schedule.at("power"),
          .end = schedule.at("end"),
          .warmup = schedule.at("warmup_epochs"),
          .warmup_unit = TimeUnit::kEpochs,
          .warmup_start = schedule.at("warmup_start")};
}

TrainOptions train_options(const Json& options) {
  const Json& optimizer = options.at("optimizer");
  const Json& stop = options.at("early_stop");
  return {
      .epochs = options.at("epochs"),
      .optimizer = {.name = optimizer.at("name"),
                    .momentum = optimizer.at("momentum"),
                    .weight_decay = optimizer.at("weight_decay"),
                    .decoupled = optimizer.at("decoupled"),
                    .beta1 = optimizer.at("beta1"),
                    .beta2 = optimizer.at("beta2"),
                    .eps = optimizer.at("eps"),
                    .decay = {.norms = optimizer.at("decay_norms"), .biases = optimizer.at("decay_biases")}},
      .schedule = schedule_options(options),
      .ema = options.at("ema"),
      .clip = options.at("clip"),
      .early_stop = {.patience = stop.at("patience"), .threshold = stop.at("threshold")},
      .evaluate_every = options.at("evaluate_every"),
      .keep = options.at("keep") == "best" ? KeptModel::kBest : KeptModel::kLast};
}

Json train_stage(const StageJob& job) {
  Workbench& bench = job.bench;
  const Recipe& recipe = bench.recipe();
  const Json& options = job.stage.options;

  Model model = job.model_in.empty() ? new_model(bench) : load_trainable(bench, job.model_in);
  model.preprocessing = recipe.data.eval_transforms;
  model.task_options = bench.task_options(model);
  const auto task = bench.task_of(model, loss_options(options));
  const auto source = bench.training_batches(training_batch(options, recipe));
  const auto eval = bench.evaluation_batches("val", model.preprocessing, recipe.data.batch);

  TrainOptions train = train_options(options);
  train.seed = recipe.seed;
  train.device = bench.device();
  train.folder = job.folder;
  train.distill = distillation(job);
  const std::string identity = options.dump() + (job.model_in.empty() ? "" : file_hash(job.model_in));
  train.recipe_hash = fnv1a(identity.data(), identity.size());
  const TrainResult result =
      espalier::train(model, *task, *source, *eval, train, show_progress(*task, train));
  if (result.stopped_early)
    spdlog::info("{}: stopped early after {} epochs", job.stage.name, result.epochs.size());

  model.metrics = {{job.stage.name, {{"best", to_json(result.best)}, {"last", to_json(result.last)}}}};
  for (auto& [when, metric] : model.metrics[job.stage.name].items()) metric.erase("details");
  Json lineage = {{"epochs", result.epochs.size()}, {"data", hex(source->hash())}, {"options", options}};
  if (train.distill.teacher) lineage["teacher"] = train.distill.hash;
  add_lineage(model, job, lineage);
  model.graph = model.graph.to(Device::kCpu);
  save_model(job.model_out, model);

  Json epochs = Json::array();
  for (const EpochReport& epoch : result.epochs) {
    Json entry = {{"loss", epoch.loss}, {"lr", epoch.rate}};
    if (epoch.metric) entry[epoch.metric->name] = epoch.metric->value;
    epochs.push_back(std::move(entry));
  }
  return {{"best_epoch", result.best_epoch + 1},
          {"best", result.best.value},
          {"steps", result.steps},
          {"stopped_early", result.stopped_early},
          {"training_images_per_second", result.images_per_second},
          {"loader_wait", result.loader_wait},
          {"peak_bytes", result.peak_bytes},
          {"epochs", epochs}};
}

}  // namespace espalier
