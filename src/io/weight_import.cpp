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

/// Their name of one of our parameters.
std::string their_name(const Graph& graph, const std::string& model, const std::string& name) {
  const std::vector<std::string> parts = parts_of(name);
  ESPALIER_CHECK(model == "mobilenet_v2", "model ", model,
                 ": there is no table of other frameworks' names for it; known are mobilenet_v2");
  const LayerNames layer = torchvision_mobilenet_v2(parts, graph.find(parts[0] + "/expand/w") >= 0);
  static const std::map<std::string, std::string> norm = {
      {"scale", "weight"}, {"shift", "bias"}, {"mean", "running_mean"}, {"variance", "running_var"}};
  if (parts[parts.size() - 2] == "norm") return layer.norm + "." + norm.at(parts.back());
  return layer.conv + (parts.back() == "bias" ? ".bias" : ".weight");
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

  ImportReport report;
  std::vector<std::string> missing, misfits;
  std::vector<std::pair<Tensor, Tensor>> copies;  // applied only when everything fits
  for (const Graph::Value& v : graph.values) {
    if (!v.param.defined()) continue;
    const std::string name = own ? v.name : their_name(graph, model, v.name);
    const auto at = theirs.find(name);
    if (at == theirs.end()) {
      missing.push_back(name + " (for " + v.name + ")");
      continue;
    }
    const Tensor found = own ? at->second : to_our_layout(at->second, v.meta.shape);
    theirs.erase(at);
    if (found.meta() == v.meta) {
      copies.emplace_back(v.param, found);
    } else if (v.name.starts_with("classifier/") && found.shape().axes() == v.meta.shape.axes() &&
               (found.shape().axes() == 1 || found.shape().back() == v.meta.shape.back())) {
      report.initialised.push_back(
          str(v.name, " (", found.shape()[0], " classes there, ", v.meta.shape[0], " here)"));
    } else {
      misfits.push_back(str(name, " is ", found.meta(), ", ", v.name, " needs ", v.meta));
    }
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
