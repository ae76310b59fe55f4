#include "recipe/recipe.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/nearest.h"
#include "datasets/transforms.h"
#include "recipe/expand.h"
#include "recipe/overrides.h"
#include "recipe/result.h"
#include "recipe/stage_entry.h"
#include "recipe/stage_inputs.h"
#include "recipe/stages.h"
#include "tasks/task.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

std::string replaced(std::string text, char from, char to) {
  std::replace(text.begin(), text.end(), from, to);
  return text;
}

/// The timing at the end of a run is a stage whether it is written or not, so that its keys can be set.
void add_bench(Document& document) {
  if (!document.root.contains("stages") || !document.root.at("stages").is_array()) return;
  Json& stages = document.root.at("stages");
  for (size_t i = 0; i < stages.size(); ++i)
    if (kind_of(document, str("stages.", i), stages[i]) == "bench") return;
  if (!stages.empty()) stages.push_back(Json{{"bench", Json::object()}});
}

/// The shared section under a train stage's own keys, key by key.
Json merged(const Json& shared, const Json& own) {
  if (!shared.is_object() || !own.is_object()) return own;
  Json result = shared;
  for (const auto& [key, value] : own.items())
    result[key] = result.contains(key) ? merged(result.at(key), value) : value;
  return result;
}

/// A list of transforms, complete; the message of a bad one begins with its line.
Json transforms(const Document& document, const Json& given, const std::string& key, const Json& fallback,
                int size) {
  const std::string path = "data.transforms." + key;
  const Pipeline pipeline(given.is_null() ? fallback : given, document.place(path) + ": " + path);
  const std::vector<Size> sizes = pipeline.output_sizes();
  if (sizes.empty())
    document.fail_at(path,
                     "the size of the result depends on the picture; end with a crop, or resize to a size");
  if (std::find(sizes.begin(), sizes.end(), Size{size, size}) == sizes.end())
    document.fail_at(path, str("gives ", sizes.back().width, "x", sizes.back().height, " but data.size is ",
                               size, "; make them equal"));
  return pipeline.to_json();
}

DataSection data_section(const Document& document, const Json& json) {
  DataSection data;
  const auto text = [&](const char* key) {
    return json.at(key).is_null() ? std::string() : json.at(key).get<std::string>();
  };
  data.spec = {.format = json.at("format"),
               .root = text("root"),
               .train = text("train"),
               .val = text("val"),
               .test = text("test"),
               .labels = text("labels"),
               .images = text("images"),
               .val_share = json.at("val_share"),
               .test_share = json.at("test_share"),
               .on_error = on_error_from_name(json.at("on_error"))};
  data.size = json.at("size");
  data.batch = json.at("batch");
  const Json& both = json.at("transforms");
  const std::string& task = task_of_format(data.spec.format);
  data.train_transforms =
      transforms(document, both.at("train"), "train", default_train_transforms(task, data.size), data.size);
  data.eval_transforms =
      transforms(document, both.at("eval"), "eval", default_eval_transforms(task, data.size), data.size);
  data.cache_bytes = json.at("cache").is_string() ? parse_bytes(json.at("cache").get<std::string>())
                                                  : json.at("cache").get<int64_t>();
  if (document.root.contains("data") && document.root.at("data").contains("make")) {
    const Json& make = json.at("make");
    data.make = {.classes = make.at("classes").is_null() ? 0 : make.at("classes").get<int>(),
                 .train = make.at("train"),
                 .val = make.at("val"),
                 .test = make.at("test"),
                 .size = make.at("size"),
                 .seed = make.at("seed"),
                 .layout = data.spec.format};
  }
  return data;
}

/// The model with the options that are given; those of another model are an error.
ModelSpec model_spec(const Document& document, const Json& section) {
  ModelSpec spec{.name = section.at("name"), .options = Json::object()};
  if (!section.at("classes").is_null()) spec.classes = section.at("classes");
  const Json& known = find_model(spec.name).options;
  const Json given = document.root.value("model", Json::object());
  for (const auto& [key, value] : section.items()) {
    if (key == "name" || key == "classes" || key == "weights" || !given.contains(key)) continue;
    if (!known.contains(key)) document.fail_at("model." + key, "is no option of " + spec.name);
    if (!value.is_null()) spec.options[key] = value;
  }
  try {
    complete_spec(spec);
  } catch (const Error& e) {
    document.fail_at("model", e.what());
  }
  return spec;
}

/// The keys that are given; those of another task are an error.
Json task_options(const Document& document, const ModelSpec& model, const Json& section) {
  Json options = Json::object();
  for (const auto& [key, value] : section.items())
    if (!value.is_null()) options[key] = value;
  // Where the data decide how many classes there are, a list with one entry a class must be believed.
  const Json weights = options.value("class_weights", Json());
  const int classes = model.classes > 0 ? model.classes : weights.is_array() ? int(weights.size()) : 2;
  try {
    make_task(find_model(model.name).task, classes, options);
  } catch (const Error& e) {
    document.fail_at("task", e.what());
  }
  return options;
}

class StageReader {
 public:
  StageReader(const Document& document, const Json& training) : document_(document), training_(training) {}

  std::vector<StageSpec> read(const Json& list) {
    if (!list.is_array()) document_.fail_at("stages", "expected a list, one '- kind: {keys}' a line");
    for (size_t i = 0; i < list.size(); ++i) add(str("stages.", i), list[i]);
    return std::move(stages_);
  }

 private:
  void add(const std::string& path, const Json& entry) {
    StageSpec stage;
    stage.kind = kind_of(document_, path, entry);
    stage.path = path + "." + stage.kind;
    const StageKind& kind = *find_stage_kind(stage.kind);
    const Json& given = options_of(entry, stage.kind);
    if (!given.is_object()) document_.fail_at(stage.path, "expected a section {key: value, ...}");
    // The stage's own keys are checked where they stand, the shared ones where they stand.
    stage.options = check_section(document_, stage.path, given, kind.keys);
    if (stage.kind == "train") check_training(stage, merged(training_, given));
    stage.name = name_of(entry, stage.kind);
    check_name(stage);
    if (kind.reads_model) find_source(stage);
    if (stage.kind == "train") find_teacher(stage, given);
    if (stage.kind == "prune") find_sensitivity(stage);
    if (stage.kind == "prune") check_prune(stage);
    if (stage.kind == "int8" && stage.options.at("finetune").at("epochs") > 0 &&
        stage.options.at("paddlex_compat"))
      document_.fail_at(stage.path + ".finetune",
                        "learns scales, which paddlex_compat takes from histograms; leave one of them out");
    if (stage.options.contains("models")) check_models(stage);
    stage.options.erase("name");
    stage.options.erase("from");
    if (stage.kind == "prune")
      for (const char* key : {"rounds", "round_epochs"}) stage.options.erase(key);  // are stages by now
    stages_.push_back(std::move(stage));
  }

  /// Also what single keys cannot show: a schedule that does not fit into the run.
  void check_training(StageSpec& stage, const Json& given) const {
    stage.options = check_section(document_, stage.path, given, find_stage_kind("train")->keys);
    if (stage.options.at("schedule").at("unit") == "steps") return;  // the data decide how many there are
    constexpr int kManySteps = 1000;
    try {
      Schedule(train_options(stage.options).schedule, kManySteps, stage.options.at("epochs").get<int64_t>());
    } catch (const Error& e) {
      document_.fail_at(stage.path, e.what());
    }
  }

  void check_name(const StageSpec& stage) const {
    const std::string& name = stage.name;
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '_' || c == '-';
    });
    if (!plain || name == "scratch" || name == "DEFAULT")  // these mean something
      document_.fail_at(stage.path + ".name",
                        "'" + name + "' is no name for a stage; use letters, digits, _ and -");
    for (const StageSpec& other : stages_) {
      if (other.kind == "bench" && stage.kind == "bench")
        document_.fail_at(stage.path,
                          "a run has one bench stage, and there is one before; put both into one");
      if (other.name == name)
        document_.fail_at(stage.path,
                          "two stages are called '" + name + "'; give one of them a name: {name: ...}");
    }
  }

  std::vector<std::string> models() const {
    std::vector<std::string> names;
    for (const StageSpec& other : stages_)
      if (find_stage_kind(other.kind)->writes_model) names.push_back(other.name);
    return names;
  }

  /// One of `names` or a model file.
  void check_model_name(const std::string& path, const std::string& name,
                        const std::vector<std::string>& names) const {
    if (!document_.flags && !name.ends_with(".safetensors") &&
        std::find(names.begin(), names.end(), name) == names.end())
      document_.fail_at(path,
                        "'" + name + "' is no earlier stage that makes a model" + did_you_mean(name, names));
  }

  void find_source(StageSpec& stage) const {
    const Json& from = stage.options.at("from");
    std::vector<std::string> names = models();
    names.insert(names.begin(), "scratch");
    if (from.is_null()) {
      stage.from = names.back();
    } else {
      stage.from = from.get<std::string>();
      check_model_name(stage.path + ".from", stage.from, names);
    }
    if (stage.from == "scratch" && stage.kind != "train" && stage.kind != "evaluate")
      document_.fail_at(stage.path,
                        "needs a model, and no stage before it makes one; put a train stage first, or "
                        "name a model file: {from: model.safetensors}");
  }

  /// A stage without a teacher has no such option, like those that were made before there was one.
  void find_teacher(StageSpec& stage, const Json& given) const {
    const Json& teacher = stage.options.at("distill").at("from");
    if (!teacher.is_null())
      check_model_name(stage.path + ".distill.from", teacher, models());
    else if (given.contains("distill"))
      document_.fail_at(stage.path + ".distill",
                        "says no teacher; name an earlier stage or a model file: {from: baseline}");
    else
      stage.options.erase("distill");
  }

  void find_sensitivity(StageSpec& stage) const {
    Json& given = stage.options["sensitivity"];
    std::vector<std::string> names;
    for (const StageSpec& other : stages_)
      if (other.kind == "sensitivity") names.push_back(other.name);
    if (given.is_null()) {
      if (names.empty())
        document_.fail_at(stage.path,
                          "needs sensitivities, and no sensitivity stage stands before it; add one, "
                          "or say {sensitivity: DEFAULT}");
      given = names.back();
    }
    const std::string name = given;
    if (!document_.flags && name != "DEFAULT" && !name.ends_with(".json") &&
        std::find(names.begin(), names.end(), name) == names.end())
      document_.fail_at(stage.path + ".sensitivity",
                        "'" + name + "' is no earlier sensitivity stage, no .json file and not DEFAULT" +
                            did_you_mean(name, names));
    if (stage.options.at("from").is_null())
      for (const StageSpec& other : stages_)
        if (other.name == name) stage.from = other.from;
  }

  void check_prune(const StageSpec& stage) const {
    const auto given = std::count_if(kBudgetKeys.begin(), kBudgetKeys.end(),
                                     [&](const char* key) { return !stage.options.at(key).is_null(); });
    if (given != 1 && document_.flags)
      fail(str("prune: ", given ? "more than one" : "none", " of ", budget_flags(),
               " is given; say exactly one"));
    if (given != 1)
      document_.fail_at(stage.path, str(given ? "more than one" : "none", " of ", kBudgetKeysText,
                                        " is given; say exactly one"));
    const Json& whole = stage.options.at("share_of");
    if (whole.is_null()) return;
    check_model_name(stage.path + ".share_of", whole, models());
    if (stage.options.at("keep_macs").is_null() && stage.options.at("keep_parameters").is_null() &&
        stage.options.at("keep_bytes").is_null())
      document_.fail_at(stage.path + ".share_of", "is for keep_macs, keep_parameters and keep_bytes");
  }

  static std::string budget_flags() {
    std::string text;
    for (const char* key : kBudgetKeys) text += (text.empty() ? "--" : ", --") + replaced(key, '_', '-');
    return text;
  }

  void check_models(const StageSpec& stage) const {
    if (stage.options.at("models").is_null()) return;
    const std::vector<std::string> names = models();
    for (const std::string name : stage.options.at("models"))
      if (std::find(names.begin(), names.end(), name) == names.end())
        document_.fail_at(stage.path + ".models", "'" + name + "' is no earlier stage that makes a model" +
                                                      did_you_mean(name, names));
  }

  const Document& document_;
  const Json& training_;
  std::vector<StageSpec> stages_;
};

/// What a finished run would lack to check the bound; empty: nothing.
std::string missing_for(const Recipe& recipe, const Bound& bound) {
  const auto ends = [&](const char* with) { return bound.quantity.ends_with(with); };
  const std::string source = source_of(recipe, *recipe.find(bound.variant));
  if (source.empty() && (ends("_drop") || ends("_share") || ends("speedup")))
    return str("'", bound.variant, "' is made from no other row of the table, so it has no ", bound.quantity);
  if (!ends("latency_ms") && !ends("speedup") && !ends("images_per_second")) return "";
  const std::vector<const StageSpec*> timed = benched(recipe, bench_stage_of(recipe));
  for (const std::string& needed : {bound.variant, ends("speedup") ? source : bound.variant})
    if (std::none_of(timed.begin(), timed.end(), [&](auto* stage) { return stage->name == needed; }))
      return str("'", needed, "' is not timed; add it to the models of the bench stage");
  return "";
}

std::vector<Bound> read_bounds(const Recipe& recipe, const Json& section) {
  const Document& document = recipe.document;
  std::vector<Bound> bounds;
  if (section.is_null()) return bounds;
  if (!section.is_object()) document.fail_at("expect", "expected 'stage.quantity: {min: x, max: y}' lines");
  std::vector<std::string> variants;
  for (const StageSpec* stage : variants_of(recipe)) variants.push_back(stage->name);
  const std::string metric = make_task(find_model(recipe.model.name).task, 2, Json::object())->metric_name();
  std::vector<std::string> quantities;
  for (const auto& [name, help] : bound_quantities(metric)) quantities.push_back(name);
  for (const auto& [key, value] : section.items()) {
    const std::string path = "expect." + key;
    const size_t dot = key.find('.');
    if (dot == std::string::npos)
      document.fail_at(path, "expected stage.quantity, for example baseline." + metric);
    Bound bound;
    bound.variant = key.substr(0, dot);
    bound.quantity = key.substr(dot + 1);
    bound.place = document.place(path);
    if (std::find(variants.begin(), variants.end(), bound.variant) == variants.end())
      document.fail_at(
          path, "'" + bound.variant +
                    (recipe.find(bound.variant) ? "' is no row of the table, as what is trained on is not"
                                                : "' is no stage that makes a model") +
                    did_you_mean(bound.variant, variants));
    if (std::find(quantities.begin(), quantities.end(), bound.quantity) == quantities.end())
      document.fail_at(
          path, "unknown quantity '" + bound.quantity + "'" + did_you_mean(bound.quantity, quantities));
    if (const std::string missing = missing_for(recipe, bound); !missing.empty())
      document.fail_at(path, missing);
    if (!value.is_object())
      document.fail_at(path, "is " + value.dump() + ", expected {min: x}, {max: y} or both");
    constexpr double kAny = std::numeric_limits<double>::infinity();
    const Json checked = check_section(document, path, value,
                                       {number("min", nullptr, -kAny, kAny, "least value that is fine"),
                                        number("max", nullptr, -kAny, kAny, "largest value that is fine")});
    if (!checked.at("min").is_null()) bound.min = checked.at("min").get<double>();
    if (!checked.at("max").is_null()) bound.max = checked.at("max").get<double>();
    if (!bound.min && !bound.max) document.fail_at(path, "neither min nor max is given");
    if (bound.min && bound.max && *bound.min > *bound.max)
      document.fail_at(path, str("min ", *bound.min, " is above max ", *bound.max));
    bounds.push_back(std::move(bound));
  }
  return bounds;
}

}  // namespace

const StageSpec* Recipe::find(const std::string& stage) const {
  for (const StageSpec& spec : stages)
    if (spec.name == stage) return &spec;
  return nullptr;
}

Recipe load_recipe(const fs::path& file, const Overrides& overrides) {
  Document document = read_yaml(file);
  add_bench(document);
  return make_recipe(std::move(document), file.stem().string(), overrides);
}

Recipe make_recipe(Document document, const std::string& name, const Overrides& overrides) {
  apply_overrides(document, overrides);
  expand_stages(document);
  Recipe recipe;
  recipe.name = name;
  recipe.document = std::move(document);
  const Document& doc = recipe.document;
  Json& complete = recipe.complete;
  complete = check_section(doc, "", doc.root, recipe_keys());

  recipe.model = model_spec(doc, complete.at("model"));
  Json& model = complete.at("model");
  if (!model.at("weights").is_null()) recipe.weights = model.at("weights").get<std::string>();
  model = {{"name", model.at("name")}, {"classes", model.at("classes")}, {"weights", model.at("weights")}};
  model.update(complete_spec(recipe.model).at("options"));

  recipe.data = data_section(doc, complete.at("data"));
  recipe.task_options = task_options(doc, recipe.model, complete.at("task"));
  recipe.seed = complete.at("seed").get<uint64_t>();
  recipe.threads = complete.at("threads");
  const std::string device = complete.at("device");
  const auto choice = device_choice(device);
  if (!choice) doc.fail_at("device", "is '" + device + "'; expected auto, cpu, cuda or cuda:N");
  recipe.device = *choice;
  recipe.precision = complete.at("precision");
  const Json training = doc.root.contains("training") && doc.root.at("training").is_object()
                            ? doc.root.at("training")
                            : Json::object();
  recipe.stages = StageReader(doc, training).read(complete.at("stages"));
  if (recipe.stages.empty()) doc.fail_at("stages", "there is no stage; say at least '- train'");
  recipe.expect = read_bounds(recipe, complete.at("expect"));
  return recipe;
}

}  // namespace espalier
