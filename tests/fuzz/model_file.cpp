// The metadata of a model file as one JSON object; the tensors are those of a small network, "int8" or not.
// What loads must run, and lose channels.

#include "io/model_file.h"

#include "base/error.h"
#include "fuzz/target.h"
#include "graph/channel_groups.h"
#include "graph/cost.h"
#include "io/safetensors.h"
#include "passes/quantize.h"
#include "passes/quantized_network.h"
#include "runtime/session.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace espalier::test {

namespace {

Model model_of(Graph graph) {
  return {.graph = std::move(graph),
          .task = "classification",
          .labels = {"a", "b", "c", "d", "e", "f", "g"},
          .architecture = {{"name", "toy"}},
          .task_options = Json::object(),
          .preprocessing = Json::array({{{"name", "resize"}, {"size", 20}}}),
          .metrics = {{"train", {{"best", {{"name", "top1"}, {"value", 0.5}}}}}},
          .lineage = Json::array({{{"stage", "train"}}})};
}

const std::vector<Model>& models() {
  static const std::vector<Model> both = [] {
    const Graph graph = small_network(), prepared = prepare_for_quantization(graph);
    const Tensor x = random_tensor({1, 20, 20, 3}, Device::kCpu, 1);
    return std::vector{model_of(graph), model_of(quantize(prepared, ranges_of(prepared, x)))};
  }();
  return both;
}

std::filesystem::path file() {
  static const TemporaryDirectory folder;
  return folder.path() / "model.safetensors";
}

/// Large pictures take their time and are no defect.
bool small(const Graph& graph) {
  int64_t elements = 0;
  for (const Graph::Value& v : graph.values) elements += v.meta.shape.elements();
  return elements < 1 << 20;
}

void use(const Model& model) {
  cost(model.graph);
  channel_groups(model.graph);
  if (!small(model.graph)) return;
  Session session(model.graph);
  session.run({Tensor::zeros(model.graph.values[model.graph.inputs[0]].meta.shape)});
}

}  // namespace

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  for (const Model& model : models()) {
    save_model(file(), model);
    Json metadata = {{"int8", all.size()}};
    for (const auto& [key, value] : load_safetensors(file()).metadata)
      metadata[key] = key == "espalier.task" ? Json(value) : parse_json(value);
    all.push_back(metadata.dump());
  }
  return all;
}

void read(const std::string& input) {
  const Json metadata = parse_json(input);
  if (!metadata.is_object()) return;
  save_model(file(), models()[metadata.value("int8", Json()) == 1]);
  Safetensors content = load_safetensors(file());
  for (const auto& [key, value] : metadata.items())
    if (key.starts_with("espalier."))
      content.metadata[key] = value.is_string() ? value.get<std::string>() : value.dump();
  save_safetensors(file(), content);
  try {
    use(load_model(file()));
  } catch (const Error&) {
  }
}

}  // namespace espalier::test
