#include "kernels/winograd.h"
#include "ops/conv2d.h"
#include "ops/prepared_convolution.h"

namespace espalier {

using PreparedWinograd = PreparedConvolution<kernels::WinogradFilters, kernels::winograd_prepared>;

std::unique_ptr<Prepared> Conv2d::prepare(const PrepareCtx& ctx) const {
  if (!can_pack(ctx, has_bias)) return Op::prepare(ctx);
  const Shape &x = ctx.in[0].shape(), &w = ctx.in[1].shape();
  const kernels::ConvShape shape{x[0], x[1], x[2], x[3], w[0], w[1], w[2], stride, pad};
  if (kernels::winograd_suits(shape))
    return std::make_unique<PreparedWinograd>(
        ctx, shape, act, has_bias, has_residual,
        [&](const float* bias) { return new kernels::WinogradFilters(ctx.in[1].f32(), bias, w[0], w[3]); });
  using Filters = kernels::PackedFilters;
  return std::make_unique<PreparedDense>(ctx, shape, act, has_bias, has_residual, [&](const float* bias) {
    return new Filters(ctx.in[1].f32(), bias, w[0], w[1], w[2], w[3]);
  });
}

}  // namespace espalier
