// INT8 ops: the shared bodies against exact integers, the prepared kernels bit for bit against the shared
// bodies.

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "kernels/quantized_prepared.h"
#include "ops/quantized_convolution.h"
#include "ops/quantized_elementwise.h"
#include "ops/quantized_resample.h"
#include "support/messages.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

Tensor random_codes(const Shape& shape, DType type, uint64_t seed) {
  Random random(seed, Purpose::kTest);
  const Tensor t(shape, Device::kCpu, type);
  for (int64_t i = 0; i < t.elements(); ++i) {
    if (type == DType::kU8)
      t.u8()[i] = static_cast<uint8_t>(random.below(256));
    else
      t.s8()[i] = static_cast<int8_t>(random.below(255) - 127);
  }
  return t;
}

struct Problem {
  int N, H, W, C, K, kernel, stride;
  Padding pad;
  DType x, y;
  bool residual;
};

constexpr DType kS8 = DType::kS8, kU8 = DType::kU8, kF32 = DType::kF32;

const Problem kProblems[] = {
    {1, 7, 7, 64, 96, 1, 1, {}, kU8, kS8, false},               // pointwise, whole vectors
    {2, 5, 6, 24, 40, 1, 1, {}, kS8, kU8, true},                // pruned widths, signed input
    {1, 5, 5, 37, 53, 1, 1, {}, kU8, kU8, false},               // channels that fill no group and no vector
    {1, 1, 1, 1280, 15, 1, 1, {}, kU8, kF32, false},            // a classifier
    {1, 1, 1, 9, 1000, 1, 1, {}, kS8, kF32, true},              //
    {1, 17, 15, 3, 32, 3, 2, {1, 1, 1, 1}, kS8, kU8, false},    // a network's first layer
    {2, 16, 18, 3, 16, 3, 2, {0, 0, 1, 1}, kS8, kU8, false},    // the same, padded as TensorFlow does
    {1, 6, 5, 16, 24, 3, 1, {1, 1, 1, 1}, kS8, kS8, true},      // a window of whole groups, signed, padded
    {1, 9, 8, 6, 5, 5, 1, {2, 0, 1, 3}, kU8, kU8, false},       // unequal padding
    {1, 9, 37, 20, 2, 3, 1, {1, 1, 1, 1}, kU8, kF32, false},    // so few outputs that columns are lanes
    {2, 7, 9, 17, 5, 3, 1, {1, 2, 0, 1}, kS8, kS8, true},       // the same, signed, padded unequally
    {1, 11, 6, 8, 3, 5, 1, {0, 0, 0, 0}, kU8, kU8, true},       // the same with fifteen lanes
    {1, 8, 9, 7, 1, 5, 1, {2, 2, 2, 2}, kU8, kS8, false},       // the same with five
    {1, 40, 23, 48, 56, 3, 1, {1, 1, 1, 1}, kU8, kU8, false},   // several lines for each column of filters
    {1, 41, 20, 33, 40, 3, 2, {1, 1, 1, 1}, kS8, kU8, false},   // the same with a stride
    {2, 7, 8, 37, 29, 3, 1, {1, 0, 2, 1}, kS8, kU8, true},      // odd everything, in 2x2 tiles
    {1, 70, 75, 17, 16, 3, 1, {0, 0, 0, 0}, kU8, kF32, false},  // many tiles, not padded
    {3, 3, 1, 130, 33, 3, 1, {1, 1, 1, 1}, kU8, kU8, false},    // a column of pixels
};

Tensors inputs_of(const Problem& p, bool depthwise) {
  const int K = depthwise ? p.C : p.K;
  Tensors in = {random_codes({p.N, p.H, p.W, p.C}, p.x, 1),
                depthwise ? random_codes({p.kernel, p.kernel, p.C}, kS8, 2)
                          : random_codes({p.K, p.kernel, p.kernel, p.C}, kS8, 2)};
  Random random(3, Purpose::kTest);
  const Tensor bias({K}, Device::kCpu, DType::kS32), multiplier({K});
  for (int k = 0; k < K; ++k) {
    bias.s32()[k] = random.below(4001) - 2000;
    multiplier.f32()[k] =
        static_cast<float>(random.uniform(0.3, 1.0) / (40.0 * p.kernel * std::sqrt(depthwise ? 1.0 : p.C)));
  }
  in.push_back(bias);
  in.push_back(multiplier);
  const int P = (p.H + p.pad.top + p.pad.bottom - p.kernel) / p.stride + 1,
            Q = (p.W + p.pad.left + p.pad.right - p.kernel) / p.stride + 1;
  if (p.residual) in.push_back(random_codes({p.N, P, Q, K}, p.y == kU8 ? kU8 : kS8, 4));
  return in;
}

template <class Op>
std::shared_ptr<Op> op_of(const Problem& p, float slope = 1) {
  auto op = std::make_shared<Op>();
  op->stride = p.stride;
  op->pad = p.pad;
  op->out = name(p.y);
  op->slope = slope;
  op->has_residual = p.residual;
  op->residual_factor = 0.37f;
  op->low = p.y == kU8 ? 0 : -127;
  op->high = p.y == kU8 ? 201 : 127;
  return op;
}

/// The formula, on integers and one float at a time.
std::vector<float> reference(const QuantizedConvolution& op, const Tensors& in, const Shape& y,
                             bool depthwise) {
  const auto s = shape_of(op, in[0].shape(), in[1].shape());
  const std::vector<float> x = in[0].to_vector(), w = in[1].to_vector();
  const std::vector<float> residual = op.has_residual ? in[4].to_vector() : std::vector<float>();
  std::vector<float> out;
  for (int64_t at = 0; at < y.elements(); ++at) {
    const int k = static_cast<int>(at % y.back()), q = static_cast<int>(at / y.back() % s.Q()),
              p = static_cast<int>(at / y.back() / s.Q() % s.P());
    const int64_t n = at / y.back() / s.Q() / s.P();
    int64_t sum = in[2].s32()[k];
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t) {
        const int h = p * s.stride - s.pad.top + r, v = q * s.stride - s.pad.left + t;
        if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
        for (int c = depthwise ? k : 0; c < (depthwise ? k + 1 : s.C); ++c)
          sum += static_cast<int64_t>(x[((n * s.H + h) * s.W + v) * s.C + c]) *
                 static_cast<int64_t>(depthwise ? w[(r * s.S + t) * s.C + c]
                                                : w[((int64_t{k} * s.R + r) * s.S + t) * s.C + c]);
      }
    float f = static_cast<float>(sum) * in[3].f32()[k];
    if (!(f > 0)) f *= op.slope;
    if (op.has_residual) f = std::fmaf(residual[at], op.residual_factor, f);
    if (op.out != "f32")
      f = std::nearbyint(std::min(std::max(f, static_cast<float>(op.low)), static_cast<float>(op.high)));
    out.push_back(f);
  }
  return out;
}

/// What a Session runs: the prepared kernel with a team of 1 and of 3.
std::vector<float> run_prepared(const Op& op, const Tensors& in, const Meta& meta, int threads) {
  const Tensor y(meta.shape, Device::kCpu, meta.dtype);
  std::shared_ptr<void> packed;
  PrepareCtx ctx;
  ctx.in = in;
  ctx.out = {y};
  ctx.is_parameter = {false, true, true, true, false};
  ctx.packed = &packed;
  const auto prepared = op.prepare(ctx);
  auto* cooperative = dynamic_cast<CooperativePrepared*>(prepared.get());
  if (!cooperative) {
    prepared->run();
    return y.to_vector();
  }
  for (int step = 0; step < cooperative->steps(); ++step)
    for (int t = 0; t < threads; ++t) cooperative->run(kernels::Team{t, threads, step});
  return y.to_vector();
}

template <class Op>
void check(const Problem& p, bool depthwise, float slope) {
  SCOPED_TRACE(str(p.H, "x", p.W, "x", p.C, " k", p.K, " f", p.kernel, " s", p.stride, " ", p.x, " to ", p.y,
                   " slope ", slope));
  const auto op = op_of<Op>(p, slope);
  const Tensors in = inputs_of(p, depthwise);
  const Tensor y = apply1(op, in);
  const std::vector<float> got = y.to_vector(), want = reference(*op, in, y.shape(), depthwise);
  EXPECT_EQ(got, want);
  EXPECT_EQ(run_prepared(*op, in, y.meta(), 1), got);
  EXPECT_EQ(run_prepared(*op, in, y.meta(), 3), got);
  // The case must not be trivial: many different codes.
  EXPECT_GT(std::set<float>(got.begin(), got.end()).size(), std::min<size_t>(10, got.size() / 2));
}

TEST(QuantizedConv2d, IsExactAndItsPreparedFormToo) {
  for (const Problem& p : kProblems)
    for (float slope : {1.0f, 0.1f})
      if (!(p.residual && slope != 1)) check<QuantizedConv2d>(p, false, slope);
}

TEST(QuantizedConv2d, TheLargestSumsThereCanBeAreExact) {
  for (const int filter : {127, -127})
    for (const int kernel : {1, 3}) {
      const Problem p{1, 3, 4, 1840, 17, kernel, 1, {}, kU8, kF32, false};
      const Tensors in = inputs_of(p, false);
      std::fill_n(in[0].u8(), in[0].elements(), uint8_t{255});
      std::fill_n(in[1].s8(), in[1].elements(), static_cast<int8_t>(filter));
      const auto op = op_of<QuantizedConv2d>(p);
      const Tensor y = apply1(op, in);
      EXPECT_EQ(y.to_vector(), reference(*op, in, y.shape(), false));
      EXPECT_EQ(run_prepared(*op, in, y.meta(), 1), y.to_vector());
    }
}

TEST(QuantizedDepthwiseConv2d, IsExactAndItsPreparedFormToo) {
  for (Problem p : kProblems) {
    if (p.kernel == 1) p.kernel = 3, p.pad = {1, 1, 1, 1};
    check<QuantizedDepthwiseConv2d>(p, true, 1);
  }
}

TEST(QuantizedLinear, IsAConvolutionOfOnePixel) {
  for (int K : {15, 16, 1000}) {
    auto op = std::make_shared<QuantizedLinear>();
    op->out = "f32";
    const Problem p{3, 1, 1, 1280, K, 1, 1, {}, kU8, kF32, false};
    Tensors in = inputs_of(p, false);
    in[0] = random_codes({3, 1280}, kU8, 7);
    in[1] = random_codes({K, 1280}, kS8, 8);
    const Tensor y = apply1(op, in);
    EXPECT_EQ(y.to_vector(), reference(*op, in, {3, 1, 1, K}, false));
    EXPECT_EQ(run_prepared(*op, in, y.meta(), 2), y.to_vector());
  }
}

TEST(Quantize, RoundsHalfToEvenAndClamps) {
  Quantize op;
  op.scale = 0.5f;
  const Tensor x =
      Tensor::from(std::vector<float>{-100, -0.75f, -0.25f, 0, 0.25f, 0.75f, 1.25f, 63.5f, 1e30f}, {9});
  EXPECT_EQ(apply1(std::make_shared<Quantize>(op), {x}).to_vector(),
            (std::vector<float>{-127, -2, 0, 0, 0, 2, 2, 127, 127}));
  op.out = "u8";
  EXPECT_EQ(apply1(std::make_shared<Quantize>(op), {x}).to_vector(),
            (std::vector<float>{0, 0, 0, 0, 0, 2, 2, 127, 255}));
  op.scale = 0;
  EXPECT_THROW(apply1(std::make_shared<Quantize>(op), {x}), Error);
}

TEST(Quantize, PreparedFormIsTheSame) {
  for (const char* out : {"s8", "u8"}) {
    Quantize op;
    op.scale = 0.013f;
    op.out = out;
    const Tensor x = random_tensor({1, 3, 7, 5}, Device::kCpu, 5);
    const Tensor y = apply1(std::make_shared<Quantize>(op), {x});
    for (int threads : {1, 4}) EXPECT_EQ(run_prepared(op, {x}, y.meta(), threads), y.to_vector());
  }
}

TEST(Dequantize, UndoesQuantizeToHalfAStep) {
  Quantize there;
  there.scale = 0.02f;
  Dequantize back;
  back.scale = 0.02f;
  const Tensor x = random_tensor({200}, Device::kCpu, 6);
  const std::vector<float> a = x.to_vector();
  const std::vector<float> b =
      apply1(std::make_shared<Dequantize>(back), {apply1(std::make_shared<Quantize>(there), {x})})
          .to_vector();
  for (size_t i = 0; i < a.size(); ++i)
    if (std::abs(a[i]) < 2.5f) {
      EXPECT_TRUE(std::abs(a[i] - b[i]) <= 0.0101f) << a[i] << " became " << b[i];
    }
}

TEST(Dequantize, PreparedFormIsTheSame) {
  Dequantize op;
  op.scale = 0.037f;
  for (DType type : {kU8, kS8}) {
    const Tensor x = random_codes({3, 7, 11}, type, 12);
    const Tensor y = apply1(std::make_shared<Dequantize>(op), {x});
    for (int threads : {1, 3}) EXPECT_EQ(run_prepared(op, {x}, y.meta(), threads), y.to_vector());
  }
}

TEST(QuantizedAdd, PreparedFormIsTheSame) {
  for (const char* out : {"s8", "u8"}) {
    QuantizedAdd op;
    op.a_factor = 0.7f;
    op.b_factor = 0.4f;
    op.out = out;
    op.low = op.out == "u8" ? 0 : -127;
    op.high = 119;
    const Tensor a = random_codes({3, 7, 11}, kU8, 1), b = random_codes({3, 7, 11}, kS8, 2);
    const Tensor y = apply1(std::make_shared<QuantizedAdd>(op), {a, b});
    for (int threads : {1, 3}) EXPECT_EQ(run_prepared(op, {a, b}, y.meta(), threads), y.to_vector());
  }
}

TEST(QuantizedAdd, IsOneRounding) {
  QuantizedAdd op;
  op.a_factor = 0.7f;
  op.b_factor = 0.4f;
  op.out = "u8";
  op.low = 0;
  op.high = 255;
  const Tensor a = random_codes({3, 37}, kU8, 1), b = random_codes({3, 37}, kS8, 2);
  const std::vector<float> x = a.to_vector(), z = b.to_vector(),
                           got = apply1(std::make_shared<QuantizedAdd>(op), {a, b}).to_vector();
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(got[i], std::nearbyint(std::min(255.0f, std::max(0.0f, std::fmaf(z[i], 0.4f, x[i] * 0.7f)))));
}

TEST(QuantizedGlobalAvgPool, IsTheRoundedMean) {
  const QuantizedGlobalAvgPool op;
  for (DType type : {kU8, kS8})
    for (int C : {16, 37}) {
      const Tensor x = random_codes({2, 3, 5, C}, type, 9);
      const std::vector<float> in = x.to_vector();
      const Tensor y = apply1(std::make_shared<QuantizedGlobalAvgPool>(op), {x});
      for (int n = 0; n < 2; ++n)
        for (int c = 0; c < C; ++c) {
          float sum = 0;
          for (int i = 0; i < 15; ++i) sum += in[(n * 15 + i) * C + c];
          EXPECT_EQ(y.to_vector()[n * C + c], std::nearbyint(sum / 15));
        }
      for (int threads : {1, 3}) EXPECT_EQ(run_prepared(op, {x}, y.meta(), threads), y.to_vector());
    }
}

/// Shapes whose lines, windows and channels leave tails, run by teams that do not divide them.
template <class Op>
void check_resample(const Op& op, const Tensors& in) {
  const Tensor y = apply1(std::make_shared<Op>(op), in);
  for (int threads : {1, 3, 7}) EXPECT_EQ(run_prepared(op, in, y.meta(), threads), y.to_vector());
  std::vector<float> values = in[0].to_vector();
  // The FP32 op on the codes, rounded: equal, since few codes are mixed and every step is exact or nearly so.
  const Tensors floats = [&] {
    Tensors f = in;
    f[0] = Tensor::from(values, in[0].shape());
    return f;
  }();
  std::vector<float> want;
  if constexpr (std::is_same_v<Op, QuantizedMaxPool>)
    want = max_pool(floats[0], op.o).to_vector();
  else if (in.size() == 1)
    want = (op.o.bilinear ? resize_bilinear(floats[0], op.o.height, op.o.width, op.o.align_corners)
                          : resize_nearest(floats[0], op.o.height, op.o.width))
               .to_vector();
  else
    want = (op.o.bilinear ? resize_bilinear_like(floats[0], floats[1], op.o.align_corners)
                          : resize_nearest_like(floats[0], floats[1]))
               .to_vector();
  const std::vector<float> got = y.to_vector();
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)  // a rounding of the mix may fall on either side of a half
    ASSERT_TRUE(std::abs(got[i] - want[i]) <= 0.5001f) << i << ": " << got[i] << ", " << want[i];
}

TEST(QuantizedMaxPool, IsTheLargestCodeAndItsPreparedFormToo) {
  for (const DType type : {kU8, kS8})
    for (const int C : {1, 5, 37, 64, 100})
      for (const PoolOptions& o : {PoolOptions{}, PoolOptions{.kernel = 3, .stride = 2, .pad = {1, 0, 2, 1}},
                                   PoolOptions{.kernel = 3, .stride = 1, .pad = {1, 1, 1, 1}}}) {
        SCOPED_TRACE(str(type, " c", C, " k", o.kernel));
        QuantizedMaxPool op;
        op.o = o;
        check_resample(op, {random_codes({2, 5, 7, C}, type, 3)});
      }
}

TEST(QuantizedResize, IsTheRoundedMixAndItsPreparedFormToo) {
  for (const DType type : {kU8, kS8})
    for (const int C : {1, 5, 37, 64, 100, 1500})
      for (const ResizeOptions& o : {ResizeOptions{10, 14, false, false}, ResizeOptions{9, 3, false, false},
                                     ResizeOptions{11, 14, true, true}, ResizeOptions{3, 13, true, false},
                                     ResizeOptions{0, 0, true, true}, ResizeOptions{0, 0, false, false}}) {
        SCOPED_TRACE(str(type, " c", C, " to ", o.height, "x", o.width, " bilinear ", o.bilinear));
        QuantizedResize op;
        op.o = o;
        Tensors in = {random_codes({2, 5, 7, C}, type, 3)};
        if (!o.height) in.push_back(Tensor::zeros({2, 8, 5, 3}));
        check_resample(op, in);
      }
}

TEST(Concat, JoinsCodesAndItsPreparedFormToo) {
  const std::shared_ptr<Op> op = make_op("concat");
  for (const DType type : {kU8, kS8}) {
    const Tensors in = {random_codes({2, 3, 5, 7}, type, 1), random_codes({2, 3, 5, 64}, type, 2),
                        random_codes({2, 3, 5, 1}, type, 3)};
    const Tensor y = apply1(op, in);
    for (int threads : {1, 4, 40}) EXPECT_EQ(run_prepared(*op, in, y.meta(), threads), y.to_vector());
  }
}

TEST(QuantizedOps, HaveNoGradientAndSaySo) {
  const QuantizedConv2d op;
  EXPECT_FALSE(op.differentiable());
  Ctx ctx;
  EXPECT_THROW(op.backward(ctx, {}), Error);
}

/// Graphs come from files too, and kernels trust what infer() let pass.
TEST(QuantizedOps, WhatKernelsWouldTrustIsChecked) {
  const Meta x = {{1, 6, 5, 4}, kU8}, w = {{8, 3, 3, 4}, kS8};
  const auto message = [&](const auto& edit) {
    QuantizedConv2d op;
    op.pad = {1, 1, 1, 1};
    Metas in = {x, w, {{8}, DType::kS32}, {{8}, DType::kF32}};
    edit(op, in);
    return message_of([&] { op.infer(in); });
  };
  EXPECT_EQ(message([](auto&, auto&) {}), "");
  expect_says(message([](auto& op, auto&) { op.pad.left = -1; }), "the padding is 1,-1,1,1");
  expect_says(message([](auto& op, auto&) { op.pad.top = 2147483647; }), "the padding is");
  expect_says(message([](auto& op, auto&) { op.stride = 0; }), "stride is 0");
  expect_says(message([](auto& op, auto&) { op.out = "s32"; }), "out is s32");
  expect_says(message([](auto& op, auto&) { op.low = 5, op.high = 4; }), "limited to 5 .. 4");
  expect_says(message([](auto& op, auto&) { op.high = 128; }), "limited to -127 .. 128");
  expect_says(message([](auto&, auto& in) { in[0].shape[0] = 0; }), "no extent may be 0");
  expect_says(message([](auto&, auto& in) { in[1].shape = {0, 3, 3, 4}; }), "no extent may be 0");
  QuantizedLinear linear;
  expect_says(message_of([&] {
                linear.infer(Metas{{{1, 4}, kS8}, {{0, 4}, kS8}, {{0}, DType::kS32}, {{0}, DType::kF32}});
              }),
              "no extent may be 0");
  Quantize codes;
  codes.out = "f32";
  expect_says(message_of([&] { codes.infer(Metas{{{1, 4}, DType::kF32}}); }), "out is f32");
  QuantizedAdd add;
  add.low = 1, add.high = 0;
  expect_says(message_of([&] { add.infer(Metas{x, x}); }), "limited to 1 .. 0");
}

}  // namespace
}  // namespace espalier::test
