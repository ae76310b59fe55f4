#include "kernels/global_avg_pool.h"

#include "base/error.h"
#include "ops/channel_ties.h"
#include "ops/global_avg_pool_prepare.h"
#include "ops/onnx_nodes.h"
#include "ops/ops.h"
#include "ops/quantized_elementwise.h"
#include "ops/storage.h"

namespace espalier {

namespace {

/// See global_avg_pool() in ops.h. In: x [N,H,W,C], f32 or bf16. Out: [N,C], f32.
struct GlobalAvgPool final : Op {
  const char* name() const override { return "global_avg_pool"; }
  Metas infer(std::span<const Meta> in) const override {
    check_activations(*this, in, 1);
    const Shape& x = in[0].shape;
    ESPALIER_CHECK(x.axes() == 4 && x[1] > 0 && x[2] > 0, "global_avg_pool: x is ", x,
                   "; it must be [N,H,W,C] with at least one pixel");
    return {{{x[0], x[3]}, DType::kF32}};
  }
  void forward(Ctx& c) const override {
    const Shape& x = c.in[0].shape();
    with_type(c.in[0].dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::global_avg_pool_forward(c.device(), x[0], x[1] * x[2], x[3], c.in[0].as<T>(), c.out[0].f32());
    });
  }
  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    const Shape& x = c.in[0].shape();
    const Tensor dx(x, dy[0].device(), c.in[0].dtype());
    with_type(dx.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::global_avg_pool_backward(dx.device(), x[0], x[1] * x[2], x[3], dy[0].f32(), dx.as<T>());
    });
    return {dx};
  }
  void channels(ChannelTies& t) const override { t.same(t.in(0), t.out()); }
  void attributes(AttributeVisitor&) override {}
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  Keep keep() const override { return {.inputs = 0}; }
  uint32_t may_be_bf16() const override { return 1; }
  bool never_negative(const std::vector<bool>& inputs) const override { return inputs[0]; }
  std::shared_ptr<const Op> on_codes() const override { return std::make_shared<QuantizedGlobalAvgPool>(); }
  void to_onnx(OnnxNodes& nodes) const override { write_onnx_global_mean(nodes); }
  std::unique_ptr<Prepared> prepare(const PrepareCtx& ctx) const override {
    auto prepared = prepare_global_avg_pool(ctx);
    return prepared ? std::move(prepared) : Op::prepare(ctx);
  }
};

}  // namespace

void write_onnx_global_mean(OnnxNodes& nodes) {
  const OnnxNodes::Name mean = nodes.node("GlobalAveragePool", {nodes.in(0)});
  onnx_words::out_like_input(nodes, nodes.node("Flatten", {mean}));
}

std::shared_ptr<Op> make_global_avg_pool() { return std::make_shared<GlobalAvgPool>(); }
Tensor global_avg_pool(const Tensor& x) { return apply1(std::make_shared<GlobalAvgPool>(), {x}); }

}  // namespace espalier
