#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/winograd.h"
#include "ops/conv2d.h"
#include "ops/convolution.h"
#include "ops/prepared_convolution.h"

namespace espalier {

using PreparedWinograd = PreparedConvolution<kernels::WinogradFilters, kernels::winograd_prepared>;

namespace {

/// On a GPU, with filters that were rounded to bf16 once.
struct PreparedOfStored final : Prepared {
  Device device;
  kernels::ConvShape shape;
  std::shared_ptr<Tensor> filters;
  const Bf16* x;
  kernels::EpilogueOf<Bf16> epilogue;
  Bf16* y;

  PreparedOfStored(const Conv2d& op, const PrepareCtx& ctx, const kernels::ConvShape& shape)
      : device(ctx.out[0].device()),
        shape(shape),
        x(ctx.in[0].bf16()),
        epilogue(epilogue_of<Bf16>(op, ctx.in)),
        y(ctx.out[0].bf16()) {
    if (!*ctx.packed) {
      const Tensor& w = ctx.in[1];
      auto rounded = std::make_shared<Tensor>(w.shape(), w.device(), DType::kBF16);
      kernels::cast(w.device(), w.elements(), w.f32(), rounded->bf16());
      *ctx.packed = rounded;
    }
    filters = std::static_pointer_cast<Tensor>(*ctx.packed);
  }
  void run() override {
    ESPALIER_CHECK(kernels::conv2d_forward_of_stored(device, shape, x, filters->bf16(), epilogue, y),
                   "conv2d: no kernel of the GPU takes this shape with bf16; use precision tf32");
  }
  int64_t packed_bytes() const override { return filters->bytes(); }
};

bool can_round(const PrepareCtx& ctx) {
  return ctx.is_parameter[1] && ctx.out[0].device() == Device::kCuda && ctx.in[0].dtype() == DType::kBF16 &&
         !kernels::reference_only();
}

}  // namespace

std::unique_ptr<Prepared> Conv2d::prepare(const PrepareCtx& ctx) const {
  const Shape &x = ctx.in[0].shape(), &w = ctx.in[1].shape();
  const kernels::ConvShape shape{x[0], x[1], x[2], x[3], w[0], w[1], w[2], stride, pad};
  if (can_round(ctx)) return std::make_unique<PreparedOfStored>(*this, ctx, shape);
  if (!can_pack(ctx, has_bias)) return Op::prepare(ctx);
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
