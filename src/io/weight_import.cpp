#include "io/weight_import.h"

#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "io/safetensors.h"

namespace espalier {

namespace {

/// "block3/expand/norm/scale" as {"block3", "expand", "norm", "scale"}.
std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  std::istringstream in(name);
  for (std::string part; std::getline(in, part, '/');) parts.push_back(part);
  return parts;
}

/// Where a layer's convolution and norm are kept in torchvision's mobilenet_v2.
struct LayerNames {
  std::string conv, norm;
};

LayerNames torchvision_mobilenet_v2(const std::vector<std::string>& parts, bool has_expand) {
  if (parts[0] == "stem") return {"features.0.0", "features.0.1"};
  if (parts[0] == "head") return {"features.18.0", "features.18.1"};
  if (parts[0] == "classifier") return {"classifier.1", ""};
  const std::string block = "features." + parts[0].substr(5) + ".conv.";  // "block3" is features.3
  const int shift = has_expand ? 0 : -1;
  if (parts[1] == "expand") return {block + "0.0", block + "0.1"};
  if (parts[1] == "depthwise") return {block + str(1 + shift, ".0"), block + str(1 + shift, ".1")};
  return {block + str(2 + shift), block + str(3 + shift)};
}

/// The same in timm's mobilenetv1_100, whose stages have one, two, two, six and two blocks.
LayerNames timm_mobilenet_v1(const std::vector<std::string>& parts) {
  if (parts[0] == "stem") return {"conv_stem", "bn1"};
  if (parts[0] == "classifier") return {"classifier", ""};
  int stage = 0, block = std::stoi(parts[0].substr(5)) - 1;
  for (const int blocks : {1, 2, 2, 6, 2}) {
    if (block < blocks) break;
    block -= blocks;
    ++stage;
  }
  const std::string at = str("blocks.", stage, ".", block, ".");
  return parts[1] == "depthwise" ? LayerNames{at + "conv_dw", at + "bn1"}
                                 : LayerNames{at + "conv_pw", at + "bn2"};
}

constexpr const char* kBackbone = "backbone/";

/// The name in a file of a backbone alone; "" for what a backbone does not have.
std::string name_in_backbone(const std::string& name) {
  return name.starts_with(kBackbone) ? name.substr(std::string(kBackbone).size()) : "";
}

/// Their name of one of our parameters; "" for what their file cannot have.
std::string their_name(const Graph& graph, const std::string& model, const std::string& name) {
  if (model == "yolov3_mobilenet_v1") {
    const std::string inner = name_in_backbone(name);
    return inner.empty() ? "" : their_name(graph, "mobilenet_v1", inner);
  }
  ESPALIER_CHECK(
      model == "mobilenet_v2" || model == "mobilenet_v1", "model ", model,
      ": there is no table of other frameworks' names for it; known are mobilenet_v1, mobilenet_v2, "
      "yolov3_mobilenet_v1");
  const std::vector<std::string> parts = parts_of(name);
  const LayerNames layer = model == "mobilenet_v1"
                               ? timm_mobilenet_v1(parts)
                               : torchvision_mobilenet_v2(parts, graph.find(parts[0] + "/expand/w") >= 0);
  static const std::map<std::string, std::string> norm = {
      {"scale", "weight"}, {"shift", "bias"}, {"mean", "running_mean"}, {"variance", "running_var"}};
  if (parts[parts.size() - 2] == "norm") return layer.norm + "." + norm.at(parts.back());
  return layer.conv + (parts.back() == "bias" ? ".bias" : ".weight");
}

/// Layers whose outputs are the classes: they may differ in axis 0.
bool is_head(const std::string& name) {
  return name.starts_with("classifier/") || name.starts_with("yolo_output") || name.starts_with("logits/");
}

bool differ_in_outputs_only(Shape a, Shape b) {
  if (a.axes() != b.axes()) return false;
  a[0] = b[0] = 1;
  return a == b;
}

/// OIHW to [K,R,S,C], or [C,1,R,S] to the depthwise [R,S,C]; everything else as it is.
Tensor to_our_layout(const Tensor& theirs, const Shape& ours) {
  const Shape& s = theirs.shape();
  if (s.axes() != 4 || (ours.axes() != 4 && ours.axes() != 3)) return theirs;
  const bool depthwise = ours.axes() == 3;
  const int O = s[0], I = s[1], H = s[2], W = s[3];
  if (depthwise && I != 1) return theirs;  // left for the shape check to refuse
  Tensor out(depthwise ? Shape{H, W, O} : Shape{O, H, W, I});
  const float* from = theirs.f32();
  for (int o = 0; o < O; ++o)
    for (int i = 0; i < I; ++i)
      for (int h = 0; h < H; ++h)
        for (int w = 0; w < W; ++w, ++from)
          out.f32()[depthwise ? (h * W + w) * O + o : ((o * H + h) * W + w) * I + i] = *from;
  return out;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 8; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > 8) text += str(", and ", names.size() - 8, " more");
  return text;
}

}  // namespace

ImportReport import_weights(Graph& graph, const std::string& model, const std::filesystem::path& path) {
  const Safetensors file = load_safetensors(path);
  const bool own = file.metadata.contains("espalier.graph");
  std::map<std::string, Tensor> theirs(file.tensors.begin(), file.tensors.end());
  std::erase_if(theirs, [](const auto& entry) { return entry.first.ends_with("num_batches_tracked"); });
  // A detector takes a classifier's file for its backbone; the classifier's last layer is of no use there.
  const bool backbone_only = model == "yolov3_mobilenet_v1" && !theirs.contains("backbone/stem/w");
  if (backbone_only)
    std::erase_if(theirs, [](const auto& entry) { return entry.first.starts_with("classifier"); });
  const auto name_there = [&](const std::string& name) {
    if (!own) return their_name(graph, model, name);
    return backbone_only ? name_in_backbone(name) : name;
  };

  ImportReport report;
  std::vector<std::string> missing, misfits;
  std::vector<std::pair<Tensor, Tensor>> copies;  // applied only when everything fits
  for (const Graph::Value& v : graph.values) {
    if (!v.param.defined()) continue;
    const std::string name = name_there(v.name);
    if (name.empty()) {
      const std::string part = parts_of(v.name)[0];
      if (report.initialised.empty() || report.initialised.back() != part) report.initialised.push_back(part);
      continue;
    }
    const auto at = theirs.find(name);
    if (at == theirs.end()) {
      missing.push_back(name + " (for " + v.name + ")");
      continue;
    }
    const Tensor found = own ? at->second : to_our_layout(at->second, v.meta.shape);
    theirs.erase(at);
    if (found.meta() == v.meta)
      copies.emplace_back(v.param, found);
    else if (is_head(v.name) && differ_in_outputs_only(found.shape(), v.meta.shape))
      report.initialised.push_back(str(v.name, " (", found.shape()[0],
                                       v.name.starts_with("yolo") ? " outputs" : " classes", " there, ",
                                       v.meta.shape[0], " here)"));
    else
      misfits.push_back(str(name, " is ", found.meta(), ", ", v.name, " needs ", v.meta));
  }
  std::vector<std::string> surplus;
  for (const auto& [name, tensor] : theirs) surplus.push_back(name);
  ESPALIER_CHECK(
      missing.empty() && misfits.empty() && surplus.empty(), path.string(), ": these weights do not fit ",
      model, missing.empty() ? "" : "; missing: " + list_of(missing),
      misfits.empty() ? "" : "; other shapes: " + list_of(misfits),
      surplus.empty() ? "" : "; not used: " + list_of(surplus), "; check the model's options (width, form)");
  for (const auto& [to, from] : copies) to.copy_from(from);
  report.loaded = static_cast<int>(copies.size());
  return report;
}

}  // namespace espalier
