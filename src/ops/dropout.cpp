#include "kernels/dropout.h"

#include "base/error.h"
#include "base/random.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"

namespace espalier {

namespace {

thread_local uint64_t dropout_seed = 0, dropout_step = 0;

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
    const int32_t words[4] = {low(dropout_seed), high(dropout_seed), low(dropout_step), high(dropout_step)};
    c.saved = {Tensor::from(std::span<const int32_t>(words), {4})};
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

 private:
  static int32_t low(uint64_t v) { return static_cast<int32_t>(v & 0xFFFFFFFF); }
  static int32_t high(uint64_t v) { return static_cast<int32_t>(v >> 32); }
  static uint64_t join(int32_t low, int32_t high) {
    return uint64_t{static_cast<uint32_t>(high)} << 32 | static_cast<uint32_t>(low);
  }
  RandomStream stream(const Ctx& c) const {
    const int32_t* words = c.saved[0].s32();
    return random_stream(join(words[0], words[1]), Purpose::kDropout, join(words[2], words[3]),
                         static_cast<uint64_t>(seed));
  }
};

}  // namespace

void set_dropout_step(uint64_t seed, uint64_t step) {
  dropout_seed = seed;
  dropout_step = step;
}

std::shared_ptr<Op> make_dropout() { return std::make_shared<Dropout>(); }

Tensor dropout(const Tensor& x, float probability, int seed) {
  auto op = std::make_shared<Dropout>();
  op->probability = probability;
  op->seed = seed;
  return apply1(op, {x});
}

}  // namespace espalier
