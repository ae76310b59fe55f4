#include "passes/shared_scales.h"

#include <algorithm>
#include <span>

#include "ops/resize.h"

namespace espalier {

bool moves_codes(const Graph::Item& item) { return item.op->on_codes() != nullptr; }

namespace {

std::span<const int> moved(const Graph::Item& item) {
  // The second input of a resize lends its extents only.
  return std::span(item.in).first(item.as<Resize>() ? 1 : item.in.size());
}

}  // namespace

SharedScales::SharedScales(const Graph& graph, const std::vector<bool>& quantized)
    : set_(graph.values.size()), moved_(graph.values.size(), false) {
  for (size_t v = 0; v < set_.size(); ++v) set_[v] = static_cast<int>(v);
  for (size_t i = 0; i < graph.items.size(); ++i) {
    const Graph::Item& item = graph.items[i];
    if (!quantized[i] || !moves_codes(item)) continue;
    moved_[item.out[0]] = true;
    for (int x : moved(item)) std::replace(set_.begin(), set_.end(), int{set_[x]}, int{set_[item.out[0]]});
  }
}

std::vector<int> SharedScales::made(int value) const {
  std::vector<int> found;
  for (size_t v = 0; v < set_.size(); ++v)
    if (set_[v] == set_[value] && !moved_[v]) found.push_back(static_cast<int>(v));
  return found;
}

}  // namespace espalier
