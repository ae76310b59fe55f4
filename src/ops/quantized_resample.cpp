#include "ops/quantized_resample.h"

#include "base/error.h"
#include "kernels/quantized_prepared.h"
#include "kernels/quantized_resample.h"
#include "kernels/reference_only.h"
#include "ops/channel_ties.h"
#include "ops/max_pool.h"
#include "ops/onnx_nodes.h"
#include "ops/quantized_convolution.h"

namespace espalier {

namespace {

void check_codes(const Op& op, const Meta& x) {
  ESPALIER_CHECK(x.dtype == DType::kS8 || x.dtype == DType::kU8, op.name(), ": x is ", x,
                 "; expected s8 or u8");
}

/// A kernel over a problem, codes in and codes of the same type out.
template <class Problem, auto kKernel>
struct PreparedResample final : CooperativePrepared {
  Problem problem;
  kernels::Code code;
  const void* x;
  void* y;

  PreparedResample(const Problem& problem, const PrepareCtx& ctx)
      : problem(problem), code(code_of(ctx.in[0].dtype())), x(ctx.in[0].data()), y(ctx.out[0].data()) {}

  using CooperativePrepared::run;
  void run(const kernels::Team& team) override { kKernel(problem, code, x, y, team); }
};

bool fast(const PrepareCtx& ctx) { return ctx.out[0].device() == Device::kCpu && !kernels::reference_only(); }

}  // namespace

Metas QuantizedMaxPool::infer(std::span<const Meta> in) const {
  check_count(*this, in, 1);
  check_codes(*this, in[0]);
  const kernels::ConvShape s = pool_shape(name(), o, in[0].shape);
  return {{{s.N, s.P(), s.Q(), s.C}, in[0].dtype}};
}

void QuantizedMaxPool::forward(Ctx& c) const {
  kernels::quantized_max_pool(c.device(), pool_shape(name(), o, c.in[0].shape()), code_of(c.in[0].dtype()),
                              c.in[0].data(), c.out[0].data());
}

void QuantizedMaxPool::attributes(AttributeVisitor& v) { visit_pool(v, o); }

std::unique_ptr<Prepared> QuantizedMaxPool::prepare(const PrepareCtx& ctx) const {
  if (!fast(ctx)) return Op::prepare(ctx);
  return std::make_unique<PreparedResample<kernels::ConvShape, kernels::quantized_max_pool_prepared>>(
      pool_shape(name(), o, ctx.in[0].shape()), ctx);
}

Metas QuantizedResize::infer(std::span<const Meta> in) const {
  const Shape y = o.output(*this, in);
  check_codes(*this, in[0]);
  return {{y, in[0].dtype}};
}

void QuantizedResize::forward(Ctx& c) const {
  kernels::quantized_resize(c.device(), o.problem(c.in[0].shape(), c.out[0].shape()),
                            code_of(c.in[0].dtype()), c.in[0].data(), c.out[0].data());
}

void QuantizedResize::channels(ChannelTies& t) const { t.same(t.in(0), t.out()); }

std::unique_ptr<Prepared> QuantizedResize::prepare(const PrepareCtx& ctx) const {
  if (!fast(ctx)) return Op::prepare(ctx);
  return std::make_unique<PreparedResample<kernels::ResizeShape, kernels::quantized_resize_prepared>>(
      o.problem(ctx.in[0].shape(), ctx.out[0].shape()), ctx);
}

void QuantizedMaxPool::to_onnx(OnnxNodes& nodes) const { write_onnx(o, nodes); }
void QuantizedResize::to_onnx(OnnxNodes& nodes) const { o.write_onnx(nodes); }

std::shared_ptr<Op> make_quantized_max_pool() { return std::make_shared<QuantizedMaxPool>(); }
std::shared_ptr<Op> make_quantized_resize() { return std::make_shared<QuantizedResize>(); }

}  // namespace espalier
