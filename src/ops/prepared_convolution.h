#pragma once
// What the prepared forms of Conv2d, DepthwiseConv2d and Linear have in common.

#include <memory>

#include "kernels/conv2d_prepared.h"
#include "kernels/depthwise_prepared.h"
#include "kernels/reference_only.h"
#include "ops/op.h"

namespace espalier {

/// A kernel over filters that were packed once; kKernel is a function of kernels/*_prepared.h.
template <class Filters, auto kKernel>
struct PreparedConvolution final : CooperativePrepared {
  kernels::ConvShape shape;
  Activation act;
  std::shared_ptr<Filters> filters;
  const float *x, *residual = nullptr;
  float* y;

  /// Inputs as in ops/conv2d.h and ops/linear.h. `make(bias)` packs the filters; bias may be null.
  template <class Make>
  PreparedConvolution(const PrepareCtx& ctx, const kernels::ConvShape& shape, Activation act, bool has_bias,
                      bool has_residual, const Make& make)
      : shape(shape), act(act), x(ctx.in[0].f32()), y(ctx.out[0].f32()) {
    if (!*ctx.packed) *ctx.packed = std::shared_ptr<Filters>(make(has_bias ? ctx.in[2].f32() : nullptr));
    filters = std::static_pointer_cast<Filters>(*ctx.packed);
    if (has_residual) residual = ctx.in.back().f32();
  }

  using CooperativePrepared::run;
  void run(const kernels::Team& team) override { kKernel(shape, act, *filters, x, residual, y, team); }
  int64_t packed_bytes() const override { return filters->bytes(); }
};

using PreparedDense = PreparedConvolution<kernels::PackedFilters, kernels::conv2d_prepared>;
using PreparedDepthwise = PreparedConvolution<kernels::PaddedFilters, kernels::depthwise_prepared>;

/// True if the filters are known now, lie on the CPU, and fast paths are wanted.
inline bool can_pack(const PrepareCtx& ctx, bool has_bias) {
  return ctx.is_parameter[1] && (!has_bias || ctx.is_parameter[2]) && ctx.out[0].device() == Device::kCpu &&
         ctx.in[0].dtype() == DType::kF32 && !kernels::reference_only();
}

}  // namespace espalier
