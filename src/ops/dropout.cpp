#include "kernels/dropout.h"

#include <array>

#include "base/error.h"
#include "ops/channel_ties.h"
#include "ops/onnx_nodes.h"
#include "ops/ops.h"
#include "tensor/allocator.h"

namespace espalier {

namespace {

/// Words of the seed and of the step's number.
thread_local std::array<int32_t, 4> words = {};
/// The same on the GPU once a call has asked for them there. set_dropout_step() overwrites them, in the order
/// of the stream.
thread_local Tensor words_on_gpu;

Tensor words_on(Device device) {
  if (device == Device::kCpu) return Tensor::from(words, {4});
  if (!words_on_gpu.defined()) {
    const allocator::CommonBlocks outlives_a_recorded_step;
    words_on_gpu = Tensor::from(words, {4}, device);
  }
  return words_on_gpu.clone();
}

/// See dropout() in ops.h. In: x. Out: y like x.
struct Dropout final : Op {
  float probability = 0.5f;
  int seed = 0;

  const char* name() const override { return "dropout"; }
  Metas infer(std::span<const Meta> in) const override {
    check_f32(*this, in, 1);
    ESPALIER_CHECK(probability >= 0 && probability < 1, "dropout: probability is ", probability,
                   "; it must lie in [0, 1)");
    return {in[0]};
  }
  void forward(Ctx& c) const override {
    if (!c.training) return c.out[0].copy_from(c.in[0]);
    // The masks are drawn again in backward, so all that is kept is which step this was.
    c.saved = {words_on(c.device())};
    kernels::dropout(c.device(), c.in[0].elements(), stream(c), probability, c.in[0].f32(), c.out[0].f32());
  }
  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    if (c.saved.empty()) return {dy[0]};
    const Tensor dx(dy[0].shape(), dy[0].device());
    kernels::dropout(dx.device(), dx.elements(), stream(c), probability, dy[0].f32(), dx.f32());
    return {dx};
  }
  void channels(ChannelTies& t) const override { t.same(t.in(0), t.out()); }
  void attributes(AttributeVisitor& v) override {
    v.visit("probability", probability);
    v.visit("seed", seed);
  }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  Keep keep() const override { return {.inputs = 0}; }
  bool identity_in_inference() const override { return true; }
  void to_onnx(OnnxNodes& nodes) const override { nodes.out(nodes.in(0)); }

 private:
  kernels::DropoutStream stream(const Ctx& c) const {
    return {c.saved[0].s32(), static_cast<uint64_t>(seed)};
  }
};

}  // namespace

void set_dropout_step(uint64_t seed, uint64_t step) {
  const auto low = [](uint64_t v) { return static_cast<int32_t>(v & 0xFFFFFFFF); };
  words = {low(seed), low(seed >> 32), low(step), low(step >> 32)};
  if (words_on_gpu.defined()) words_on_gpu.copy_from(Tensor::from(words, {4}));
}

std::shared_ptr<Op> make_dropout() { return std::make_shared<Dropout>(); }

Tensor dropout(const Tensor& x, float probability, int seed) {
  auto op = std::make_shared<Dropout>();
  op->probability = probability;
  op->seed = seed;
  return apply1(op, {x});
}

}  // namespace espalier
