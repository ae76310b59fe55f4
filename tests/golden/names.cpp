#include "golden/names.h"

#include <map>
#include <sstream>
#include <vector>

namespace espalier::test {

namespace {

std::vector<std::string> parts(const std::string& name) {
  std::vector<std::string> found;
  std::istringstream in(name);
  for (std::string part; std::getline(in, part, '/');) found.push_back(part);
  return found;
}

/// Of a convolution and its norm, kept as "0" and "1" of a sequence.
std::string ending(const std::string& ours) {
  static const std::map<std::string, std::string> norm = {
      {"scale", "weight"}, {"shift", "bias"}, {"mean", "running_mean"}, {"variance", "running_var"}};
  const std::string leaf = parts(ours).back();
  if (ours.find("/norm/") != std::string::npos) return "1." + norm.at(leaf);
  return leaf == "bias" ? "0.bias" : "0.weight";
}

/// The number behind a name, less `first`: "block13" counts from 1, theirs from 0.
std::string number(const std::string& name, int first) {
  return std::to_string(std::stoi(name.substr(name.find_first_of("0123456789"))) - first);
}

/// "block3/expand/norm/scale" is "features.3.body.0.1.weight".
std::string mobilenet_v2_name(const Graph& graph, const std::string& ours) {
  const std::string place = parts(ours)[0], end = ending(ours);
  if (place == "classifier") return "fc." + end.substr(2);
  if (place == "stem") return "features.0." + end;
  if (place == "head") return "features.18." + end;
  int layer = ours.find("/expand/") != std::string::npos      ? 0
              : ours.find("/depthwise/") != std::string::npos ? 1
                                                              : 2;
  if (graph.find(place + "/expand/w") < 0) --layer;
  return "features." + place.substr(5) + ".body." + std::to_string(layer) + "." + end;
}

/// "decode2/conv1/w" is "decode.1.1.0.weight".
std::string unet_name(const std::string& ours) {
  const std::vector<std::string> at = parts(ours);
  if (at[0] == "logits") return "logit.weight";
  return at[0].substr(0, 6) + "." + number(at[0], 1) + "." + number(at[1], 0) + "." + ending(ours);
}

/// "backbone/block3/depthwise/w" is "backbone.blocks.2.0.0.weight", "yolo_block1/tip/w" is "tips.1.0.weight".
std::string yolov3_name(const std::string& ours) {
  const std::vector<std::string> at = parts(ours);
  const std::string end = ending(ours);
  if (at[0] == "backbone" && at[1] == "stem") return "backbone.stem." + end;
  if (at[0] == "backbone")
    return "backbone.blocks." + number(at[1], 1) + (at[2] == "depthwise" ? ".0." : ".1.") + end;
  const std::string n = number(at[0], 0) + ".";
  if (at[0].starts_with("yolo_output")) return "outs." + n + end.substr(2);
  if (at[0].starts_with("yolo_transition")) return "transitions." + n + end;
  return at[1] == "tip" ? "tips." + n + end : "blocks." + n + number(at[1], 0) + "." + end;
}

}  // namespace

std::string golden_name(const Graph& graph, const std::string& model, const std::string& ours) {
  if (model == "unet") return unet_name(ours);
  if (model == "yolov3_mobilenet_v1") return yolov3_name(ours);
  return mobilenet_v2_name(graph, ours);
}

}  // namespace espalier::test
