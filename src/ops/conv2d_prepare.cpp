#include "kernels/conv2d_prepared.h"
#include "kernels/reference_only.h"
#include "ops/conv2d.h"

namespace espalier {

namespace {

struct PreparedConv2d final : CooperativePrepared {
  kernels::ConvShape shape;
  Activation act;
  std::shared_ptr<kernels::PackedFilters> filters;
  const float *x, *residual;
  float* y;

  using CooperativePrepared::run;
  void run(const kernels::Team& team) override {
    kernels::conv2d_prepared(shape, act, *filters, x, residual, y, team);
  }
  int64_t packed_bytes() const override { return filters->bytes(); }
};

}  // namespace

std::unique_ptr<Prepared> Conv2d::prepare(const PrepareCtx& ctx) const {
  const bool constant = ctx.is_parameter[1] && (!has_bias || ctx.is_parameter[2]);
  if (!constant || ctx.out[0].device() != Device::kCpu || kernels::reference_only()) return Op::prepare(ctx);
  const Shape &x = ctx.in[0].shape(), &w = ctx.in[1].shape();
  auto prepared = std::make_unique<PreparedConv2d>();
  prepared->shape = {x[0], x[1], x[2], x[3], w[0], w[1], w[2], stride, pad};
  prepared->act = act;
  std::shared_ptr<void>& packed = *ctx.packed;
  if (!packed)
    packed = std::make_shared<kernels::PackedFilters>(ctx.in[1].f32(), has_bias ? ctx.in[2].f32() : nullptr,
                                                      w[0], w[1], w[2], w[3]);
  prepared->filters = std::static_pointer_cast<kernels::PackedFilters>(packed);
  prepared->x = ctx.in[0].f32();
  prepared->residual = has_residual ? ctx.in.back().f32() : nullptr;
  prepared->y = ctx.out[0].f32();
  return prepared;
}

}  // namespace espalier
