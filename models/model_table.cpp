#include "models/model_table.h"

#include "base/error.h"
#include "models/mobilenet_v2.h"

namespace espalier {

namespace {

ModelFunction make_mobilenet_v2(const ModelSpec& spec) {
  MobileNetV2Options o;
  o.classes = spec.classes;
  o.width = spec.options.at("width").get<float>();
  o.dropout = spec.options.at("dropout").get<float>();
  o.expand_first = spec.options.at("form") == "reference";
  o.padding = padding_style_from_name(spec.options.at("padding").get<std::string>());
  ESPALIER_CHECK(o.width > 0 && o.width <= 4, "model: width is ", o.width, "; it must lie in (0, 4]");
  ESPALIER_CHECK(o.dropout >= 0 && o.dropout < 1, "model: dropout is ", o.dropout, "; it must lie in [0, 1)");
  return [o](Scope s, const Tensor& x) { return mobilenet_v2(s, x, o); };
}

}  // namespace

const std::vector<ModelEntry>& model_table() {
  static const std::vector<ModelEntry> table = {
      {"mobilenet_v2", "classification", "MobileNetV2 (Sandler et al., 2018)",
       Json{{"width", {{"default", 1.0}, {"description", "channel multiplier, in (0, 4]"}}},
            {"form",
             {{"default", "paper"},
              {"values", {"paper", "reference"}},
              {"description", "reference: an expand convolution in the first block too"}}},
            {"padding",
             {{"default", "symmetric"},
              {"values", {"symmetric", "tensorflow"}},
              {"description", "tensorflow is the right one for weights that were trained there"}}},
            {"dropout", {{"default", 0.0}, {"description", "before the classifier, in [0, 1)"}}}},
       make_mobilenet_v2},
  };
  return table;
}

const ModelEntry& find_model(const std::string& name) {
  std::string known;
  for (const ModelEntry& entry : model_table()) {
    if (entry.name == name) return entry;
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  fail("model '" + name + "' is unknown; known are " + known);
}

namespace {

/// The options with defaults filled in; unknown keys and values of another kind are errors.
Json complete_options(const ModelEntry& entry, const Json& given) {
  Json options = Json::object();
  for (const auto& [key, about] : entry.options.items()) options[key] = about.at("default");
  if (given.is_null()) return options;
  for (const auto& [key, value] : given.items()) {
    std::string known;
    for (const auto& [k, about] : entry.options.items()) known += (known.empty() ? "" : ", ") + k;
    ESPALIER_CHECK(options.contains(key), "model ", entry.name, ": unknown option '", key, "'; known are ",
                   known);
    const Json& about = entry.options.at(key);
    ESPALIER_CHECK(value.is_number() == about.at("default").is_number() &&
                       value.is_string() == about.at("default").is_string(),
                   "model ", entry.name, ": option '", key, "' is ", value.dump(),
                   ", expected something like ", about.at("default").dump());
    if (about.contains("values"))
      ESPALIER_CHECK(
          std::find(about["values"].begin(), about["values"].end(), value) != about["values"].end(), "model ",
          entry.name, ": option '", key, "' is ", value.dump(), "; known are ", about["values"].dump());
    options[key] = value;
  }
  return options;
}

}  // namespace

Graph build_model(const ModelSpec& spec, int size, uint64_t seed) {
  const ModelEntry& entry = find_model(spec.name);
  ESPALIER_CHECK(spec.classes >= 1, "model ", spec.name, ": classes is ", spec.classes,
                 "; it must be at least 1");
  ModelSpec complete = spec;
  complete.options = complete_options(entry, spec.options);
  return build_graph(entry.make(complete), size, size, 3, seed);
}

Json complete_spec(const ModelSpec& spec) {
  return {{"name", spec.name},
          {"classes", spec.classes},
          {"options", complete_options(find_model(spec.name), spec.options)}};
}

}  // namespace espalier
