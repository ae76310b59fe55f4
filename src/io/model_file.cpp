#include "io/model_file.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "io/safetensors.h"

namespace espalier {

namespace {

constexpr const char* kFormat = "1";

const std::string& field(const Safetensors& file, const std::string& path, const std::string& key) {
  const auto at = file.metadata.find("espalier." + key);
  ESPALIER_CHECK(at != file.metadata.end(), path, ": is a safetensors file but no model of this program: '",
                 key, "' is missing; pretrained weights belong under model.weights");
  return at->second;
}

/// What other parts of the program read without a further look.
void check_metadata(const Model& model) {
  const auto check = [](const char* key, const Json& value, bool fits, const char* expected) {
    ESPALIER_CHECK(fits, "its ", key, " is ", value.dump(), "; expected ", expected);
  };
  const Json &about = model.architecture, &options = model.task_options, &metrics = model.metrics;
  check("architecture", about, about.is_object(), "an object");
  check("task_options", options, options.is_null() || options.is_object(), "an object");
  check("metrics", metrics, metrics.is_null() || metrics.is_object(), "an object");
  const bool history = std::all_of(model.lineage.begin(), model.lineage.end(),
                                   [](const Json& entry) { return entry.is_object(); });
  check("lineage", model.lineage, model.lineage.is_null() || (model.lineage.is_array() && history),
        "a list of objects");
  const Json classes = about.value("classes", Json(model.labels.size()));
  ESPALIER_CHECK(classes == model.labels.size(), "it has ", model.labels.size(),
                 " labels, and its network tells ", classes.dump(),
                 " classes apart; write one label a class");
}

/// A network takes one picture, and its memory follows from that picture's size.
void check_input(const Graph& graph) {
  ESPALIER_CHECK(graph.inputs.size() == 1 && !graph.items.empty() && !graph.outputs.empty(), "its graph has ",
                 graph.inputs.size(), " inputs, ", graph.items.size(), " items and ", graph.outputs.size(),
                 " outputs; one input and some of the others are expected");
  const Meta& input = graph.values[graph.inputs[0]].meta;
  const Shape& x = input.shape;
  const auto side = [&](int axis) { return x[axis] >= 1 && x[axis] <= kLargestInput; };
  ESPALIER_CHECK(input.dtype == DType::kF32 && x.axes() == 4 && x[0] == 1 && side(1) && side(2),
                 "its input is ", input, "; f32[1,H,W,C] of 1 .. ", kLargestInput,
                 " pixels a side is expected");
}

}  // namespace

void save_model(const std::filesystem::path& path, const Model& model) {
  Safetensors file;
  for (const Graph::Value& v : model.graph.values)
    if (v.param.defined()) file.tensors.emplace_back(v.name, v.param);
  file.metadata = {{"espalier.format", kFormat},
                   {"espalier.task", model.task},
                   {"espalier.graph", graph_to_json(model.graph).dump()},
                   {"espalier.labels", Json(model.labels).dump()},
                   {"espalier.architecture", model.architecture.dump()},
                   {"espalier.task_options", model.task_options.dump()},
                   {"espalier.preprocessing", model.preprocessing.dump()},
                   {"espalier.metrics", model.metrics.dump()},
                   {"espalier.lineage", model.lineage.dump()}};
  save_safetensors(path, file);
}

Model load_model(const std::filesystem::path& path) {
  const std::string name = path.string();
  const Safetensors file = load_safetensors(path);
  const std::string& format = field(file, name, "format");
  ESPALIER_CHECK(format == kFormat, name, ": has model format ", format, ", this program reads ", kFormat,
                 "; use a newer program");
  Model model;
  std::vector<std::pair<std::string, Meta>> parameters;
  for (const auto& [parameter, tensor] : file.tensors) parameters.emplace_back(parameter, tensor.meta());
  const auto parse = [&](const char* key) {
    Json json = parse_json(field(file, name, key));
    ESPALIER_CHECK(!json.is_discarded(), "its metadata is damaged: '", key, "' is no JSON");
    return json;
  };
  try {
    model.task = field(file, name, "task");
    model.graph = graph_from_json(parse("graph"), parameters);
    model.labels = parse("labels").get<std::vector<std::string>>();
    model.architecture = parse("architecture");
    // Files from before there were any have none.
    if (file.metadata.contains("espalier.task_options")) model.task_options = parse("task_options");
    model.preprocessing = parse("preprocessing");
    model.metrics = parse("metrics");
    model.lineage = parse("lineage");
    check_metadata(model);
    check_input(model.graph);
  } catch (const nlohmann::json::exception& e) {
    fail(str(name, ": its metadata is damaged: ", e.what()));
  } catch (const Error& e) {
    fail(str(name, ": ", e.what()));
  }
  size_t next = 0;
  for (Graph::Value& v : model.graph.values) {
    if (!v.param.defined()) continue;
    v.param = file.tensors[next++].second;
    if (v.meta.dtype != DType::kF32) continue;
    const float* p = v.param.f32();
    for (int64_t i = 0; i < v.param.elements(); ++i)
      ESPALIER_CHECK(std::isfinite(p[i]), name, ": tensor '", v.name, "' holds ", p[i], " at ", i,
                     "; the training that made it diverged, go back to an earlier checkpoint");
  }
  return model;
}

}  // namespace espalier
