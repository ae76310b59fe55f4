#include "ops/cast.h"

#include "base/error.h"
#include "kernels/elementwise.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"

namespace espalier {

namespace {

void cast_values(const Tensor& from, const Tensor& to) {
  if (from.dtype() == DType::kF32)
    kernels::cast(from.device(), from.elements(), from.f32(), to.bf16());
  else
    kernels::cast(from.device(), from.elements(), from.bf16(), to.f32());
}

}  // namespace

Metas Cast::infer(std::span<const Meta> in) const {
  check_count(*this, in, 1);
  const DType from = to_bf16 ? DType::kF32 : DType::kBF16;
  ESPALIER_CHECK(in[0].dtype == from, "cast: x is ", in[0], "; expected ", to_bf16 ? "f32" : "bf16");
  return {{in[0].shape, to_bf16 ? DType::kBF16 : DType::kF32}};
}
void Cast::forward(Ctx& c) const { cast_values(c.in[0], c.out[0]); }
Tensors Cast::backward(Ctx& c, std::span<const Tensor> dy) const {
  const Tensor dx(dy[0].shape(), dy[0].device(), c.in[0].dtype());
  cast_values(dy[0], dx);
  return {dx};
}
void Cast::channels(ChannelTies& t) const { t.same(t.in(0), t.out()); }

std::shared_ptr<Op> make_cast() { return std::make_shared<Cast>(); }
Tensor cast(const Tensor& x) {
  auto op = std::make_shared<Cast>();
  op->to_bf16 = x.dtype() == DType::kF32;
  return apply1(op, {x});
}

}  // namespace espalier
