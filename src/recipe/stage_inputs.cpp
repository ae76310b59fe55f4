#include "recipe/stage_inputs.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "compress/sensitivity.h"
#include "io/file.h"
#include "recipe/run_folder.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

Json hash_of(const fs::path& file) { return fs::exists(file) ? Json(file_hash(file)) : Json(nullptr); }

}  // namespace

bool makes_model(const StageSpec& stage) { return find_stage_kind(stage.kind)->writes_model; }

bool is_variant(const Recipe& recipe, const StageSpec& stage) {
  if (!makes_model(stage)) return false;
  const StageSpec* from = recipe.find(stage.from);
  const bool between_cuts = stage.kind == "train" && from && from->kind == "prune";
  if (stage.kind != "prune" && !between_cuts) return true;
  return std::none_of(recipe.stages.begin(), recipe.stages.end(), [&](const StageSpec& other) {
    if (other.from != stage.name) return false;
    return between_cuts ? other.kind == "prune" && !other.options.at("share_of").is_null()
                        : other.kind == "train";
  });
}

std::string source_of(const Recipe& recipe, const StageSpec& stage) {
  for (const StageSpec* at = recipe.find(stage.from); at; at = recipe.find(at->from))
    if (is_variant(recipe, *at)) return at->name;
  return "";
}

std::vector<const StageSpec*> variants_of(const Recipe& recipe) {
  std::vector<const StageSpec*> variants;
  for (const StageSpec& stage : recipe.stages)
    if (is_variant(recipe, stage)) variants.push_back(&stage);
  return variants;
}

std::vector<const StageSpec*> benched(const Recipe& recipe, const StageSpec& bench) {
  if (bench.options.at("models").is_null()) return variants_of(recipe);
  std::vector<const StageSpec*> stages;
  for (const std::string name : bench.options.at("models")) stages.push_back(recipe.find(name));
  return stages;
}

std::string teacher_name(const StageSpec& stage) {
  return stage.options.contains("distill") ? stage.options.at("distill").at("from").get<std::string>() : "";
}

StageSpec bench_stage_of(const Recipe& recipe) {
  for (const StageSpec& stage : recipe.stages)
    if (stage.kind == "bench") return stage;
  StageSpec stage;
  stage.kind = stage.name = "bench";
  Document none;
  stage.options = check_section(none, "", Json::object(), find_stage_kind("bench")->keys);
  stage.options.erase("name");
  return stage;
}

std::string headline(const Recipe& recipe, const StageSpec& stage) {
  std::string text = stage.kind == stage.name ? stage.name : stage.name + ": " + stage.kind;
  if (!stage.from.empty())
    text +=
        " from " + (stage.from == "scratch" && !recipe.weights.empty() ? recipe.weights.filename().string()
                                                                       : stage.from);
  const auto say = [&](const char* key, const char* words) {
    if (stage.options.contains(key) && !stage.options.at(key).is_null())
      text += fmt::format(fmt::runtime(words), stage.options.at(key).dump());
  };
  say("epochs", ", {} epochs");
  if (const std::string teacher = teacher_name(stage); !teacher.empty()) text += ", taught by " + teacher;
  say("keep_macs", ", keep {} of the MACs");
  say("keep_parameters", ", keep {} of the parameters");
  say("keep_bytes", ", keep {} of the bytes");
  say("keep_latency", ", keep {} of the latency");
  say("latency_ms", ", at most {} ms");
  say("tolerance", ", tolerance {}");
  say("ratios", ", ratios {}");
  say("calibrator", ", calibrator {}");
  return text;
}

StageInputs::StageInputs(Workbench& bench, const fs::path& out)
    : bench_(bench), recipe_(bench.recipe()), out_(out) {}

fs::path StageInputs::folder_of(const std::string& stage) const {
  return out_ / (aside_.contains(stage) ? stage + ".old" : stage);
}

fs::path StageInputs::model_of(const std::string& from) const {
  if (from == "scratch") return {};
  return recipe_.find(from) ? folder_of(from) / kModelFile : fs::path(from);
}

fs::path StageInputs::teacher_of(const StageSpec& stage) const {
  const std::string name = teacher_name(stage);
  return name.empty() ? fs::path() : model_of(name);
}

fs::path StageInputs::whole_of(const StageSpec& stage) const {
  if (stage.kind != "prune" || stage.options.at("share_of").is_null()) return {};
  return model_of(stage.options.at("share_of"));
}

fs::path StageInputs::sensitivity_of(const StageSpec& stage) const {
  if (stage.kind != "prune") return {};
  const std::string name = stage.options.at("sensitivity");
  return recipe_.find(name)  ? folder_of(name) / kSensitivityFile
         : name == "DEFAULT" ? default_sensitivities(recipe_.model.name)
                             : fs::path(name);
}

Json StageInputs::of(const StageSpec& stage) const {
  Json inputs = {{"kind", stage.kind}, {"options", stage.options}, {"seed", recipe_.seed}};
  if (stage.from == "scratch") {
    inputs["model"] = recipe_.complete.at("model");
    if (!recipe_.weights.empty()) inputs["weights"] = hash_of(recipe_.weights);
  } else {
    inputs["model"] = hash_of(model_of(stage.from));
  }
  if (!recipe_.task_options.empty()) inputs["task"] = recipe_.task_options;
  if (stage.kind == "prune") {
    inputs["sensitivity"] = hash_of(sensitivity_of(stage));
    if (stage.options.at("keep_multiple_of") == "auto")
      inputs["multiple"] = channel_multiple(stage.options, bench_.device());
    if (has_latency_budget(stage.options)) inputs["machine"] = bench_.machine();
    if (const fs::path whole = whole_of(stage); !whole.empty()) inputs["whole"] = hash_of(whole);
  }
  if (const fs::path teacher = teacher_of(stage); !teacher.empty()) inputs["teacher"] = hash_of(teacher);
  if (stage.kind == "train") {
    inputs["train"] = bench_.data_hash("train");
    if (stage.options.at("batch").is_null()) inputs["options"]["batch"] = recipe_.data.batch;
  }
  if (stage.kind == "sensitivity" || stage.kind == "int8")
    inputs["list"] = bench_.data_hash(stage.options.at("list"));
  if (stage.kind == "int8") inputs["measured"] = bench_.data_hash(stage.options.at("measure_on"));
  inputs["val"] = bench_.data_hash("val");
  if (bench_.has_test() && is_variant(recipe_, stage)) inputs["test"] = bench_.data_hash("test");
  return inputs;
}

Json StageInputs::of_bench(const StageSpec& stage, const std::vector<const StageSpec*>& variants) const {
  Json models = Json::object();
  for (const StageSpec* variant : variants) models[variant->name] = hash_of(model_of(variant->name));
  Json inputs = {{"kind", "bench"}, {"options", stage.options}};
  inputs.update(bench_.machine());
  inputs["models"] = models;
  return inputs;
}

}  // namespace espalier
