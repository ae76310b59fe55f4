#include "compress/watch.h"

#include <vector>

#include "base/error.h"

namespace espalier {

void watch(const Graph& g, const Tensor& images, const std::function<void(int, const Tensor&)>& see) {
  const NoGrad no_grad;
  Tensors at(g.values.size());
  std::vector<int> left(g.values.size(), 0);
  for (const Graph::Item& item : g.items)
    for (int v : item.in) ++left[v];
  for (size_t v = 0; v < g.values.size(); ++v)
    if (g.values[v].param.defined()) at[v] = g.values[v].param;
  const auto show = [&](int v) {
    const Running place(g.values[v].name);
    see(v, at[v]);
    if (left[v] == 0) at[v] = Tensor();
  };
  at[g.inputs[0]] = images.to(g.device());
  show(g.inputs[0]);
  for (const Graph::Item& item : g.items) {
    const Running place(item.name);
    Tensors in;
    for (int v : item.in) in.push_back(at[v]);
    for (int v : item.in)
      if (--left[v] == 0) at[v] = Tensor();
    const Tensors out = espalier::apply(item.op, in);
    for (size_t i = 0; i < out.size(); ++i) {
      at[item.out[i]] = out[i];
      show(item.out[i]);
    }
  }
}

}  // namespace espalier
