#include "ops/linear.h"
#include "ops/prepared_convolution.h"

namespace espalier {

/// A linear layer is a 1x1 convolution of N images of one pixel.
std::unique_ptr<Prepared> Linear::prepare(const PrepareCtx& ctx) const {
  if (!can_pack(ctx, has_bias)) return Op::prepare(ctx);
  const Shape &x = ctx.in[0].shape(), &w = ctx.in[1].shape();
  const kernels::ConvShape shape{x[0], 1, 1, x[1], w[0], 1, 1, 1, {}};
  using Filters = kernels::PackedFilters;
  return std::make_unique<PreparedDense>(ctx, shape, act, has_bias, false, [&](const float* bias) {
    return new Filters(ctx.in[1].f32(), bias, w[0], 1, 1, w[1]);
  });
}

}  // namespace espalier
