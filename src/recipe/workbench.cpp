#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "datasets/loader.h"
#include "kernels/gpu_obstacle.h"
#include "kernels/precision.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"

namespace espalier {

namespace {

Split split_of(const std::string& list) {
  return list == "train" ? Split::kTrain : list == "val" ? Split::kVal : Split::kTest;
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown processor";
}

}  // namespace

Workbench::Workbench(const Recipe& recipe)
    : recipe_(recipe),
      device_(take_device(recipe.device)),
      processor_(device_ == Device::kCpu ? processor_name() : kernels::cuda_name()) {
  if (recipe.device.automatic && device_ == Device::kCuda)
    spdlog::info("device auto: {}", processor_);
  else if (recipe.device.automatic && kernels::cuda_is_built())
    spdlog::info("device auto: cpu, because {}", kernels::cuda_obstacle());
  kernels::set_threads(recipe.threads);
  kernels::set_precision(kernels::precision_from_name(recipe.precision));
  task_ = make_task(find_model(recipe.model.name).task, std::max(2, recipe.model.classes), Json::object());
}

Workbench::~Workbench() = default;

int Workbench::threads() const { return kernels::threads(); }

Json Workbench::machine() const {
  return {{"threads", threads()}, {"device", device_name()}, {"processor", processor_}};
}

Json Workbench::task_options(const Model& model) const {
  Json options = model.task_options.is_null() ? Json::object() : model.task_options;
  options.update(recipe_.task_options);
  return options;
}

std::unique_ptr<Task> Workbench::task_of(const Model& model, const Json& extra) const {
  Json options = task_options(model);
  if (extra.is_object()) options.update(extra);
  return make_task(model.task, static_cast<int>(model.labels.size()), options);
}

void Workbench::make_data() {
  const DataSection& data = recipe_.data;
  if (!to_draw()) return;
  spdlog::info("drawing {} pictures into {}", picture_count(*data.make), data.spec.root.string());
  make_pictures(data.spec.root, *data.make);
}

bool Workbench::to_draw() const { return recipe_.data.make && must_draw(recipe_.data.spec.root); }

bool Workbench::has_test() const {
  return to_draw() ? recipe_.data.make->test > 0 : has_split(recipe_.data.spec, Split::kTest);
}

void Workbench::check_format() const {
  const std::string& format = recipe_.data.spec.format;
  ESPALIER_CHECK(task_of_format(format) == task_->name(), "data.format ", format, " is for ",
                 task_of_format(format), ", but the model ", recipe_.model.name, " is for ", task_->name(),
                 "; choose another of the two");
}

const Dataset& Workbench::dataset(Split split, bool checked) {
  // Going without unreadable pictures needs a look at each of them, whatever the list is for.
  checked |= recipe_.data.spec.on_error == OnError::kSkip;
  const auto found = datasets_.find({split, checked});
  if (found != datasets_.end()) return found->second;
  DataSpec spec = recipe_.data.spec;
  spec.check_images = checked;
  if (split != Split::kTrain && has_training_list())
    spec.expected_labels = dataset(Split::kTrain, false).labels;
  check_format();
  Dataset data = open_dataset(spec, split);
  for (const DataProblem& problem : data.skipped) spdlog::warn("{}", problem.message);
  if (const int64_t skipped = data.skipped_pictures())
    spdlog::warn("{}: {} of {} pictures are skipped", data.name, skipped, data.size() + skipped);
  if (checked && split != Split::kTrain && has_training_list()) warn_of_shared_pictures(data);
  return datasets_[{split, checked}] = std::move(data);
}

bool Workbench::has_training_list() {
  if (has_training_list_) return *has_training_list_;
  has_training_list_ = has_split(recipe_.data.spec, Split::kTrain);
  const bool trains = std::any_of(recipe_.stages.begin(), recipe_.stages.end(),
                                  [](const StageSpec& stage) { return stage.kind == "train"; });
  if (!*has_training_list_ || trains) return *has_training_list_;
  try {
    dataset(Split::kTrain, false);
  } catch (const Error& error) {
    const std::string text = error.what();
    spdlog::warn("{}; what needs no training pictures goes on without them", text.substr(0, text.find('\n')));
    has_training_list_ = false;
  }
  return *has_training_list_;
}

void Workbench::warn_of_shared_pictures(const Dataset& data) {
  const Dataset& train = dataset(Split::kTrain, false);
  const std::vector<std::string> shared = shared_pictures(data, train);
  if (shared.empty()) return;
  spdlog::warn(
      "{}: {} of {} pictures are in {} too, the first '{}'; measured on them, learning by heart is best",
      data.name, shared.size(), data.size(), train.name, shared.front());
}

std::string Workbench::data_text() {
  const std::filesystem::path& root = recipe_.data.spec.root;
  if (to_draw()) return fmt::format("data: {} is not there, its pictures will be drawn", root.string());
  std::string text = fmt::format("data: {}, {} classes", root.string(), labels().size());
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest})
    if (has_split(recipe_.data.spec, split))
      text += fmt::format(", {} {}", name(split), dataset(split, false).size());
  return text;
}

const std::vector<std::string>& Workbench::labels() {
  check_format();
  if (to_draw()) return drawn_labels_ = labels_of(*recipe_.data.make);
  if (!has_training_list())
    for (const Split split : {Split::kVal, Split::kTest})
      if (has_split(recipe_.data.spec, split)) return dataset(split, false).labels;
  return dataset(Split::kTrain, false).labels;  // or says what is missing
}

std::unique_ptr<BatchSource> Workbench::training_batches(int batch) {
  dataset(Split::kVal, true);  // their faults too should show before the training, not after
  if (has_test()) dataset(Split::kTest, true);
  LoaderOptions options = train_loader_options(batch, recipe_.seed, recipe_.data.cache_bytes);
  options.threads = recipe_.threads;
  options.bytes = device_ == Device::kCuda;
  return make_loader(dataset(Split::kTrain, true), Pipeline(recipe_.data.train_transforms), options);
}

int64_t Workbench::training_steps(int batch) {
  const LoaderOptions options = train_loader_options(batch, recipe_.seed);
  if (to_draw())
    return batch_count(recipe_.data.spec.root.string(), training_picture_count(*recipe_.data.make), options);
  const Dataset& data = dataset(Split::kTrain, false);
  return batch_count(data.name, data.size(), options);
}

std::unique_ptr<BatchSource> Workbench::evaluation_batches(const std::string& list, const Json& transforms,
                                                           int batch, int64_t max_images) {
  Dataset data = dataset(split_of(list), true);
  if (max_images >= 0) data = subset(data, max_images, recipe_.seed);
  LoaderOptions options = eval_loader_options(batch, recipe_.data.cache_bytes);
  options.threads = recipe_.threads;
  options.bytes = device_ == Device::kCuda;
  return make_loader(std::move(data), Pipeline(transforms), options);
}

std::string Workbench::data_hash(const std::string& list) {
  if (to_draw()) return "";
  const Json& transforms = list == "train" ? recipe_.data.train_transforms : recipe_.data.eval_transforms;
  // The word tells these from records that knew only the files' names.
  return "contents " + hex(dataset(split_of(list), false).hash ^ Pipeline(transforms).hash());
}

void Workbench::check_model(const Model& model, const std::string& file) {
  ESPALIER_CHECK(model.task == task_->name(), file, ": is a model for ", model.task, ", the recipe is for ",
                 task_->name());
  const std::vector<std::string>& ours = labels();
  ESPALIER_CHECK(model.labels.size() == ours.size(), file, ": knows ", model.labels.size(),
                 " classes but the data have ", ours.size(),
                 "; use the data it was trained on, or train a head for these");
  for (size_t i = 0; i < ours.size(); ++i)
    ESPALIER_CHECK(model.labels[i] == ours[i], file, ": class ", i, " is '", model.labels[i], "' but '",
                   ours[i],
                   "' in the data; name a labels file in the model's order with data.labels, or train anew");
}

}  // namespace espalier
