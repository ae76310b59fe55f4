#include "models/model_table.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "models/mobilenet_v1.h"
#include "models/mobilenet_v2.h"
#include "models/unet.h"
#include "models/yolov3_mobilenet_v1.h"

namespace espalier {

namespace {

float number(const ModelSpec& spec, const char* option) { return spec.options.at(option).get<float>(); }
std::string word(const ModelSpec& spec, const char* option) {
  return spec.options.at(option).get<std::string>();
}

float width_of(const ModelSpec& spec) {
  const float width = number(spec, "width");
  ESPALIER_CHECK(width > 0 && width <= 4, "model: width is ", width, "; it must lie in (0, 4]");
  return width;
}

// Options that several models share.
const Json kWidth = {{"default", 1.0}, {"description", "channel multiplier, in (0, 4]"}};
const Json kPadding = {{"default", "symmetric"},
                       {"values", {"symmetric", "tensorflow"}},
                       {"description", "tensorflow is the right one for weights that were trained there"}};

Json activation_option(const char* by_default) {
  return {{"default", by_default}, {"values", {"relu", "relu6"}}, {"description", "of the backbone"}};
}

ModelFunction make_mobilenet_v2(const ModelSpec& spec) {
  MobileNetV2Options o;
  o.classes = spec.classes;
  o.width = width_of(spec);
  o.dropout = number(spec, "dropout");
  o.expand_first = word(spec, "form") == "reference";
  o.padding = padding_style_from_name(word(spec, "padding"));
  ESPALIER_CHECK(o.dropout >= 0 && o.dropout < 1, "model: dropout is ", o.dropout, "; it must lie in [0, 1)");
  return [o](Scope s, const Tensor& x) { return mobilenet_v2(s, x, o); };
}

MobileNetV1Options mobilenet_v1_options(const ModelSpec& spec) {
  return {.width = width_of(spec),
          .act = word(spec, "activation") == "relu" ? Activation::relu() : Activation::relu6(),
          .padding = padding_style_from_name(word(spec, "padding"))};
}

ModelFunction make_mobilenet_v1(const ModelSpec& spec) {
  const MobileNetV1Options o = mobilenet_v1_options(spec);
  const int classes = spec.classes;
  return [o, classes](Scope s, const Tensor& x) { return mobilenet_v1(s, x, classes, o); };
}

ModelFunction make_yolov3_mobilenet_v1(const ModelSpec& spec) {
  YoloV3Options o;
  o.classes = spec.classes;
  const float anchors = number(spec, "anchors_per_head");
  ESPALIER_CHECK(anchors >= 1 && anchors <= 100 && anchors == std::floor(anchors),
                 "model: anchors_per_head is ", anchors, "; it must be a whole number in 1 .. 100");
  o.anchors = static_cast<int>(anchors);
  o.early_tap = word(spec, "tap") == "early";
  o.width = width_of(spec);
  o.backbone = mobilenet_v1_options(spec);
  return [o](Scope s, const Tensor& x) { return yolov3_mobilenet_v1(s, x, o); };
}

ModelFunction make_unet(const ModelSpec& spec) {
  UNetOptions o;
  const bool single = word(spec, "logits") == "single";
  ESPALIER_CHECK(!single || spec.classes == 2,
                 "model unet: logits 'single' tells two classes apart, classes is ", spec.classes);
  o.channels = single ? 1 : spec.classes;
  o.width = width_of(spec);
  o.nearest = word(spec, "upsampling") == "nearest";
  o.norm_momentum = number(spec, "norm_momentum");
  ESPALIER_CHECK(o.norm_momentum > 0 && o.norm_momentum <= 1, "model unet: norm_momentum is ",
                 o.norm_momentum, "; it must lie in (0, 1]");
  return [o](Scope s, const Tensor& x) { return unet(s, x, o); };
}

}  // namespace

const std::vector<ModelEntry>& model_table() {
  static const std::vector<ModelEntry> table = {
      {"mobilenet_v1", "classification", "MobileNetV1 (Howard et al., 2017)",
       Json{{"width", kWidth}, {"activation", activation_option("relu6")}, {"padding", kPadding}},
       make_mobilenet_v1},
      {"mobilenet_v2", "classification", "MobileNetV2 (Sandler et al., 2018)",
       Json{{"width", kWidth},
            {"form",
             {{"default", "paper"},
              {"values", {"paper", "reference"}},
              {"description", "reference: an expand convolution in the first block too"}}},
            {"padding", kPadding},
            {"dropout", {{"default", 0.0}, {"description", "before the classifier, in [0, 1)"}}}},
       make_mobilenet_v2},
      {"unet",
       "segmentation",
       "UNet (Ronneberger et al., 2015), padded, with batch norm",
       Json{{"width", kWidth},
            {"logits",
             {{"default", "per_class"},
              {"values", {"per_class", "single"}},
              {"description", "single: one logit for two classes, as dice and binary cross entropy need"}}},
            {"upsampling",
             {{"default", "bilinear"},
              {"values", {"bilinear", "nearest"}},
              {"description", "bilinear aligns the corners"}}},
            {"norm_momentum",
             {{"default", 0.01}, {"description", "share of each batch in the norms' running statistics"}}}},
       make_unet,
       {.exclude = {"encode1/conv1", "encode2/conv1", "encode3/conv1", "encode4/conv1"}}},
      {"yolov3_mobilenet_v1",
       "detection",
       "YOLOv3 (Redmon and Farhadi, 2018) on MobileNetV1",
       Json{{"width", kWidth},
            {"activation", activation_option("relu")},
            {"padding", kPadding},
            {"tap",
             {{"default", "late"},
              {"values", {"late", "early"}},
              {"description", "early: the reference's 1/16 map, before the backbone's five equal blocks"}}},
            {"anchors_per_head", {{"default", 3}, {"description", "shapes that each head predicts"}}}},
       make_yolov3_mobilenet_v1,
       {.include = {"yolo_block*"}}},
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
                       value.is_string() == about.at("default").is_string() &&
                       value.is_boolean() == about.at("default").is_boolean(),
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
