#include "ops/add.h"

#include "base/error.h"
#include "kernels/elementwise.h"
#include "ops/channel_ties.h"
#include "ops/onnx_nodes.h"
#include "ops/ops.h"
#include "ops/storage.h"

namespace espalier {

Metas Add::infer(std::span<const Meta> in) const {
  check_activations(*this, in, 2);
  ESPALIER_CHECK(in[0] == in[1], "add: a is ", in[0], " and b is ", in[1], "; both must be equal");
  return {in[0]};
}

void Add::channels(ChannelTies& t) const {
  t.same(t.in(0), t.in(1));
  t.same(t.in(0), t.out());
}

void Add::forward(Ctx& c) const {
  with_type(c.in[0].dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::add_forward(c.device(), c.in[0].elements(), c.in[0].as<T>(), c.in[1].as<T>(), c.out[0].as<T>());
  });
}

Tensors Add::backward(Ctx&, std::span<const Tensor> dy) const { return {dy[0], dy[0]}; }

void Add::to_onnx(OnnxNodes& nodes) const { nodes.out(nodes.node("Add", {nodes.in(0), nodes.in(1)})); }

std::shared_ptr<Op> make_add() { return std::make_shared<Add>(); }
Tensor add(const Tensor& a, const Tensor& b) { return apply1(std::make_shared<Add>(), {a, b}); }

}  // namespace espalier
