#include "cli/step.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "compress/select.h"
#include "datasets/dataset.h"
#include "datasets/transforms.h"
#include "recipe/open_model.h"
#include "recipe/stages.h"

namespace espalier {

namespace {

std::string flag_name(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

void add_flags(CLI::App* app, const std::vector<Key>& keys, const std::string& prefix, StepOptions& options,
               const std::vector<std::string>& without) {
  for (const Key& key : keys) {
    const std::string path = prefix.empty() ? key.name : prefix + "." + key.name;
    if (path == "name" || path == "from" || std::find(without.begin(), without.end(), path) != without.end())
      continue;
    if (key.kind == Key::Kind::kSection) {
      add_flags(app, key.keys, path, options, without);
      continue;
    }
    std::string help = key.help;
    if (!key.range().empty()) help += "; " + key.range();
    if (!key.fallback.is_null()) help += "; default " + key.fallback.dump();
    app->add_option(flag_name(path), options.flags[path], help);
  }
}

/// The words of "block1*,*expand*", quoted: a pattern's * or ? in front means something else in YAML.
std::string quoted_words(const std::string& text) {
  std::string list;
  std::istringstream words(text);
  for (std::string word; std::getline(words >> std::ws, word, ',');) {
    word.erase(word.find_last_not_of(' ') + 1);
    list += (list.empty() ? "" : ",") + (word.starts_with("\"") ? word : Json(word).dump());
  }
  return list;
}

/// A flag's value as YAML: lists are written without brackets on a command line.
std::string as_yaml(const std::string& kind, const std::string& path, const std::string& text) {
  if (text.starts_with("[")) return text;
  const bool budget = std::find(kBudgetKeys.begin(), kBudgetKeys.end(), path) != kBudgetKeys.end();
  if (budget) return text.find(',') != std::string::npos ? "[" + text + "]" : text;
  for (const Key& key : find_stage_kind(kind)->keys) {
    if (key.name != path) continue;
    if (key.kind == Key::Kind::kTexts) return "[" + quoted_words(text) + "]";
    const bool numbers = key.kind == Key::Kind::kIntegers || key.kind == Key::Kind::kNumbers;
    return numbers ? "[" + text + "]" : text;
  }
  return path == "schedule.at" ? "[" + text + "]" : text;
}

/// A model file has a network, and all but a training read pictures at its size: other wishes would go
/// unheard.
void check_wishes(const Model& model, const StepOptions& options) {
  for (const std::string& override : options.overrides) {
    const size_t equals = std::min(override.find('='), override.size());
    const std::string key = override.substr(0, equals),
                      value = override.substr(std::min(equals + 1, override.size()));
    ESPALIER_CHECK(
        key != "model" && !key.starts_with("model."), "--set ", override,
        ": the network is that of the model file; leave it out, or train a new one without --from");
    const std::string size = std::to_string(input_size(model));
    ESPALIER_CHECK(key != "data.size" || options.kind == "train" || value == size, "--set ", override,
                   ": the model was made for ", size, "x", size, " pictures; leave it out");
  }
}

/// Without a recipe, a model's task, size and preprocessing are what its data are read for.
void take_from(const std::string& from, const StepOptions& options, Document& document) {
  const Model model = open_model(from);
  check_wishes(model, options);
  document.root["model"]["name"] = model.architecture.value("name", Json(""));
  document.places["model.name"] = from + ", its architecture";
  if (options.data.empty()) return;
  const auto given = [&](const std::string& key) {
    return std::any_of(options.overrides.begin(), options.overrides.end(),
                       [&](const std::string& override) { return override.starts_with(key); });
  };
  Json& data = document.root["data"];
  data["format"] = likely_format(model.task, options.data);
  if (given("data.size=")) return;  // a size that is not the model's is said by who needs it
  const int size = input_size(model);
  data["size"] = size;
  if (given("data.transforms")) return;
  Json training = default_train_transforms(model.task, size);
  for (Json& entry : training)
    if (entry == "normalize" || (entry.is_object() && entry.value("name", "") == "normalize"))
      if (const Json scaled = normalization(model.preprocessing); !scaled.is_null()) entry = scaled;
  data["transforms"]["train"] = training;
  if (options.kind == "train")
    data["transforms"]["eval"] = model.preprocessing;  // other steps leave it as it is
}

}  // namespace

Overrides MachineOptions::followed_by(const Overrides& set) const {
  Overrides list;
  if (!threads.empty()) list.push_back("threads=" + threads);
  if (!device.empty()) list.push_back("device=" + device);
  if (!precision.empty()) list.push_back("precision=" + precision);
  list.insert(list.end(), set.begin(), set.end());
  return list;
}

void add_machine_options(CLI::App* app, MachineOptions& options) {
  app->add_option("--threads", options.threads, "0, the default: all cores")->check(CLI::Range(0, 1024));
  app->add_option("--device", options.device, "auto, cpu, cuda or cuda:N")
      ->check([](const std::string& text) {
        return device_choice(text) ? std::string() : "is '" + text + "'; expected auto, cpu, cuda or cuda:N";
      });
  app->add_option("--precision", options.precision,
                  "of a GPU: tf32 (the default), fp32, bf16 (activations too)")
      ->check(CLI::IsMember({"tf32", "fp32", "bf16"}));
}

void add_data_options(CLI::App* app, StepOptions& options) {
  app->add_option("--recipe", options.recipe,
                  "take data, model and training from this recipe, a file or a shipped one's name");
  app->add_option("--data", options.data, "the data set's folder; data.root of the recipe");
  app->add_option("--set", options.overrides, "KEY=VALUE of a recipe, for example data.format=image_folder")
      ->take_all()
      ->allow_extra_args(false);
  add_machine_options(app, options);
}

void add_stage_flags(CLI::App* app, const std::string& kind, StepOptions& options,
                     const std::vector<std::string>& without) {
  options.kind = kind;
  add_flags(app, find_stage_kind(kind)->keys, "", options, without);
}

void check_output(const std::string& flag, const std::filesystem::path& out,
                  const std::vector<InputFile>& inputs) {
  for (const InputFile& input : inputs) {
    std::error_code unknown;  // a file that is not there is no other one
    ESPALIER_CHECK(!std::filesystem::equivalent(out, input.path, unknown), flag, ": ", out.string(), " is ",
                   input.what, "; name another one");
  }
}

Recipe step_recipe(const StepOptions& options, const std::string& from, bool needs_data) {
  Document document;
  document.file = "command line";
  std::string name = "espalier";
  if (!options.recipe.empty()) {
    document = read_yaml(options.recipe);
    name = std::filesystem::path(options.recipe).stem().string();
    document.root.erase("expect");
  } else if (from != "scratch") {
    take_from(from, options, document);
  } else if (!options.data.empty()) {
    document.root["data"]["format"] = likely_format(options.data);  // --set knows better
  }
  document.flags = true;
  ESPALIER_CHECK(!needs_data || !options.recipe.empty() || !options.data.empty(),
                 "name the data set with --data DIR, or a recipe that does with --recipe FILE");
  if (!options.data.empty()) {
    document.root["data"]["root"] = options.data;
    document.texts["data.root"] = options.data;
    document.places["data.root"] = "--data " + options.data;
  } else if (!needs_data) {
    document.root["data"]["root"] = "";
  }
  // A step without a stage of its own still needs a list that holds one.
  const std::string kind = options.kind.empty() ? "evaluate" : options.kind;
  document.root["stages"] = Json::array({Json{{kind, Json::object()}}});
  document.places["stages.0." + kind] = "command line";
  const StageKind& about = *find_stage_kind(kind);
  // A file that is called like the stage is still a file.
  if (about.reads_model) document.root["stages"][0][kind]["from"] = from == kind ? "./" + from : from;
  for (const auto& [key, value] : options.flags) {
    if (value.empty()) continue;
    set_value(document, "stages.0." + kind + "." + key, as_yaml(kind, key, value),
              flag_name(key) + " " + value);
  }
  return make_recipe(std::move(document), name, options.followed_by(options.overrides));
}

}  // namespace espalier
