#include "base/log.h"
#include "kernels/quantized_elementwise.h"
#include "kernels/quantized_prepared.h"
#include "kernels/reference_only.h"
#include "ops/quantized_convolution.h"
#include "ops/quantized_elementwise.h"

namespace espalier {

namespace {

using kernels::Code;
using kernels::Team;

bool fast(const PrepareCtx& ctx) {
  if (ctx.out[0].device() != Device::kCpu || kernels::reference_only()) return false;
  if (kernels::has_quantized_prepared()) return true;
  static const bool said = [] {
    warn(
        "INT8 is exact but slow here: the program was built for a CPU without AVX2 and without AVX-512 VNNI");
    return true;
  }();
  (void)said;
  return false;
}

/// One of the two convolutions over filters that were packed once.
template <class Filters, auto kKernel>
struct PreparedConvolution final : CooperativePrepared {
  kernels::ConvShape shape;
  kernels::Requantize requantize;
  Code x_code, y_code;
  std::shared_ptr<Filters> filters;
  const void* x;
  void* y;

  template <class Make>
  PreparedConvolution(const QuantizedConvolution& op, const PrepareCtx& ctx, const Make& make)
      : shape(shape_of(op, ctx.in[0].shape(), ctx.in[1].shape())),
        requantize(requantize_of(op, ctx.in)),
        x_code(code_of(ctx.in[0].dtype())),
        y_code(code_of(ctx.out[0].dtype())),
        x(ctx.in[0].data()),
        y(ctx.out[0].data()) {
    if (!*ctx.packed) *ctx.packed = std::shared_ptr<Filters>(make(*this));
    filters = std::static_pointer_cast<Filters>(*ctx.packed);
  }

  using CooperativePrepared::run;
  void run(const Team& team) override { kKernel(shape, x_code, *filters, requantize, y_code, x, y, team); }
  int64_t packed_bytes() const override { return filters->bytes(); }
};

std::unique_ptr<Prepared> prepare_dense(const QuantizedConvolution& op, const PrepareCtx& ctx) {
  if (!fast(ctx) || !ctx.is_parameter[1] || !ctx.is_parameter[2] || !ctx.is_parameter[3])
    return op.Op::prepare(ctx);
  using Filters = kernels::PackedCodes;
  return std::make_unique<PreparedConvolution<Filters, kernels::quantized_conv2d_prepared>>(
      op, ctx, [&](const auto& p) {
        return new Filters(p.shape, p.x_code, ctx.in[1].s8(), p.requantize.bias, p.requantize.multiplier);
      });
}

struct PreparedQuantize final : CooperativePrepared {
  int64_t n;
  const float* x;
  float inverse_scale;
  Code code;
  void* y;

  using CooperativePrepared::run;
  void run(const Team& team) override {
    const bool is_unsigned = code == Code::kU8;
    kernels::quantize_prepared(n, x, inverse_scale, is_unsigned ? 0 : -127, is_unsigned ? 255 : 127, y, team);
  }
};

struct PreparedDequantize final : CooperativePrepared {
  int64_t n;
  Code code;
  const void* x;
  float scale;
  float* y;

  using CooperativePrepared::run;
  void run(const Team& team) override { kernels::dequantize_prepared(n, code, x, scale, y, team); }
};

struct PreparedAdd final : CooperativePrepared {
  int64_t n;
  Code a_code, b_code;
  const void *a, *b;
  float a_factor, b_factor;
  int low, high;
  void* y;

  using CooperativePrepared::run;
  void run(const Team& team) override {
    kernels::quantized_add_prepared(n, a_code, a, a_factor, b_code, b, b_factor, low, high, y, team);
  }
};

struct PreparedGlobalAvgPool final : CooperativePrepared {
  Shape shape;
  Code code;
  const void* x;
  void* y;

  using CooperativePrepared::run;
  void run(const Team& team) override {
    kernels::quantized_global_avg_pool_prepared(shape[0], shape[1] * shape[2], shape[3], code, x, y, team);
  }
};

}  // namespace

std::unique_ptr<Prepared> QuantizedConv2d::prepare(const PrepareCtx& ctx) const {
  return prepare_dense(*this, ctx);
}
std::unique_ptr<Prepared> QuantizedLinear::prepare(const PrepareCtx& ctx) const {
  return prepare_dense(*this, ctx);
}

std::unique_ptr<Prepared> QuantizedDepthwiseConv2d::prepare(const PrepareCtx& ctx) const {
  if (!fast(ctx) || !ctx.is_parameter[1] || !ctx.is_parameter[2] || !ctx.is_parameter[3])
    return Op::prepare(ctx);
  using Filters = kernels::DepthwiseCodes;
  return std::make_unique<PreparedConvolution<Filters, kernels::quantized_depthwise_prepared>>(
      *this, ctx, [&](const auto& p) {
        return new Filters(p.shape, p.x_code, ctx.in[1].s8(), p.requantize.bias, p.requantize.multiplier);
      });
}

std::unique_ptr<Prepared> Quantize::prepare(const PrepareCtx& ctx) const {
  if (!fast(ctx)) return Op::prepare(ctx);
  auto prepared = std::make_unique<PreparedQuantize>();
  prepared->n = ctx.in[0].elements();
  prepared->x = ctx.in[0].f32();
  prepared->inverse_scale = 1 / scale;
  prepared->code = code_of(ctx.out[0].dtype());
  prepared->y = ctx.out[0].data();
  return prepared;
}

std::unique_ptr<Prepared> Dequantize::prepare(const PrepareCtx& ctx) const {
  if (!fast(ctx)) return Op::prepare(ctx);
  auto prepared = std::make_unique<PreparedDequantize>();
  prepared->n = ctx.in[0].elements();
  prepared->code = code_of(ctx.in[0].dtype());
  prepared->x = ctx.in[0].data();
  prepared->scale = scale;
  prepared->y = ctx.out[0].f32();
  return prepared;
}

std::unique_ptr<Prepared> QuantizedAdd::prepare(const PrepareCtx& ctx) const {
  if (!fast(ctx)) return Op::prepare(ctx);
  auto prepared = std::make_unique<PreparedAdd>();
  prepared->n = ctx.in[0].elements();
  prepared->a_code = code_of(ctx.in[0].dtype());
  prepared->b_code = code_of(ctx.in[1].dtype());
  prepared->a = ctx.in[0].data();
  prepared->b = ctx.in[1].data();
  prepared->a_factor = a_factor;
  prepared->b_factor = b_factor;
  prepared->low = low;
  prepared->high = high;
  prepared->y = ctx.out[0].data();
  return prepared;
}

std::unique_ptr<Prepared> QuantizedGlobalAvgPool::prepare(const PrepareCtx& ctx) const {
  if (!fast(ctx)) return Op::prepare(ctx);
  auto prepared = std::make_unique<PreparedGlobalAvgPool>();
  prepared->shape = ctx.in[0].shape();
  prepared->code = code_of(ctx.in[0].dtype());
  prepared->x = ctx.in[0].data();
  prepared->y = ctx.out[0].data();
  return prepared;
}

}  // namespace espalier
