#include "train/parameters.h"

#include <spdlog/fmt/fmt.h>

#include <map>

#include "base/error.h"
#include "base/random.h"

namespace espalier {

std::string structure_hash(const Graph& graph) {
  std::string text = graph_to_json(graph).dump();
  for (const Graph::Value& v : graph.values)
    if (v.param.defined()) text += str(v.name, v.meta);
  return fmt::format("{:016x}", fnv1a(text.data(), text.size()));
}

NamedTensors parameters_on_host(const Graph& graph, bool copied) {
  NamedTensors tensors;
  for (const Graph::Value& v : graph.values)
    if (v.param.defined()) {
      const Tensor host = v.param.to(Device::kCpu).detached();
      tensors.emplace_back(v.name, copied && host.data() == v.param.data() ? host.clone() : host);
    }
  return tensors;
}

void take_parameters(const Graph& graph, const NamedTensors& tensors, const std::filesystem::path& file) {
  const std::map<std::string, Tensor> by_name(tensors.begin(), tensors.end());
  for (const Graph::Value& v : graph.values) {
    if (!v.param.defined()) continue;
    const auto found = by_name.find(v.name);
    ESPALIER_CHECK(found != by_name.end() && found->second.meta() == v.meta, file.string(),
                   ": has no fitting parameter ", v.name, "; remove it to train from the start");
    v.param.copy_from(found->second.to(v.param.device()));
  }
}

}  // namespace espalier
