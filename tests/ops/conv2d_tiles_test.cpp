// The tensor-core loops of the dense convolution, run in the emulator, against the formula in double.

#include "kernels/conv2d_tiles.h"

#include <gtest/gtest.h>

#include "kernels/batch_norm.h"
#include "kernels/normed_conv.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "support/emulated_machine.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using kernels::ConvShape;
using kernels::Precision;
namespace tiles = kernels::tiles;

/// Numbers that bf16 holds, so that every arithmetic multiplies them without rounding and the fp32 tolerance
/// holds for all of them.
Tensor short_numbers(const Shape& shape, uint64_t seed) {
  const Tensor t = random_tensor(shape, Device::kCpu, seed);
  for (int64_t i = 0; i < t.elements(); ++i)
    t.f32()[i] = kernels::warp::float_of(kernels::warp::bits_of(t.f32()[i]) & 0xffff0000u);
  return t;
}

Tensor turned(const ConvShape& s, const Tensor& w) {
  const Tensor t({s.C, s.R, s.S, s.K});
  const tiles::TurnFilters<float> turn{s.K, s.R, s.S, s.C, w.f32(), t.f32()};
  for (int64_t i = 0; i < t.elements(); ++i) turn(i);
  return t;
}

struct Problem {
  ConvShape s;
  Tensor x, w, dy;
  ConvReference want;
  explicit Problem(const ConvShape& s, Precision precision = Precision::kTf32)
      : s(s),
        x(numbers({s.N, s.H, s.W, s.C}, precision, 1)),
        w(numbers({s.K, s.R, s.S, s.C}, precision, 2)),
        dy(numbers({s.N, s.P(), s.Q(), s.K}, precision, 3)),
        want(conv_reference(s, false, x, w, dy)) {}
  static Tensor numbers(const Shape& shape, Precision precision, uint64_t seed) {
    return precision == Precision::kFp32 ? random_tensor(shape, Device::kCpu, seed)
                                         : short_numbers(shape, seed);
  }
};

constexpr Schedule kSchedules[] = {Schedule::kForwardLate, Schedule::kBackwardEarly};

TEST(Conv2dTiles, MatchTheFormulaOnEveryShape) {
  for (const ConvShape& s : kConvCases) {
    SCOPED_TRACE(describe(s));
    for (const Precision precision : {Precision::kTf32, Precision::kFp32, Precision::kBf16}) {
      SCOPED_TRACE(static_cast<int>(precision));
      const Problem p(s, precision);
      EmulatedMachine machine;
      const tiles::Conv2d<EmulatedMachine> conv{machine, precision};
      const Tensor y(p.dy.shape()), dx(p.x.shape()), dw(p.w.shape());
      conv.gather_gemm(tiles::forward_gather(s), s.K, p.x.f32(), p.w.f32(), {}, y.f32());
      EXPECT_TRUE(expect_sums(y, p.want.y)) << "y";
      conv.gather_gemm(tiles::backward_gather(s), s.C, p.dy.f32(), turned(s, p.w).f32(), {}, dx.f32());
      EXPECT_TRUE(expect_sums(dx, p.want.dx)) << "dx";
      conv.filter_gradient(tiles::forward_gather(s), s.K, p.x.f32(), p.dy.f32(), dw.f32());
      EXPECT_TRUE(expect_sums(dw, p.want.dw)) << "dw";
      if (s.C > 8) break;  // the arithmetics share the loop: all of them on the small shapes are enough
    }
  }
}

/// Both schedules must give the same bits: what a thread reads never depends on when another runs.
template <class Run>
Tensor same_in_any_order(const Shape& shape, const Run& run) {
  Tensor first;
  for (const Schedule schedule : kSchedules) {
    EmulatedMachine machine{.schedule = schedule};
    const tiles::Conv2d<EmulatedMachine> conv{machine, Precision::kTf32};
    const Tensor out(shape);
    run(conv, out.f32());
    if (!first.defined()) first = out;
    EXPECT_EQ(out.to_vector(), first.to_vector()) << "depends on the order of threads";
  }
  return first;
}

template <class Tile, int kUnit>
void every_pass_in_any_order(const Problem& p) {
  using Math = kernels::tensor_core::Tf32;
  const ConvShape& s = p.s;
  const auto forward = tiles::forward_gather(s), backward = tiles::backward_gather(s);
  EXPECT_TRUE(expect_sums(same_in_any_order(p.dy.shape(),
                                            [&](const auto& conv, float* y) {
                                              conv.template run_gather<Math, Tile, kUnit>(
                                                  forward, s.K, p.x.f32(), p.w.f32(), {}, y);
                                            }),
                          p.want.y))
      << "y";
  const Tensor w = turned(s, p.w);
  EXPECT_TRUE(expect_sums(same_in_any_order(p.x.shape(),
                                            [&](const auto& conv, float* dx) {
                                              conv.template run_gather<Math, Tile, kUnit>(
                                                  backward, s.C, p.dy.f32(), w.f32(), {}, dx);
                                            }),
                          p.want.dx))
      << "dx";
}

TEST(Conv2dTiles, EveryTileOnShapesWithTails) {
  for (const ConvShape& s :
       {ConvShape{2, 9, 14, 48, 36, 3, 3, 1, {1, 1, 1, 1}}, ConvShape{1, 12, 11, 68, 132, 1, 1, 1, {}},
        ConvShape{2, 8, 8, 32, 8, 3, 3, 2, {0, 0, 1, 1}}}) {
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    every_pass_in_any_order<tiles::Large, 16>(p);
    every_pass_in_any_order<tiles::Medium, 16>(p);
    every_pass_in_any_order<tiles::Narrow, 16>(p);
    every_pass_in_any_order<tiles::Small, 16>(p);
    every_pass_in_any_order<tiles::Small, 4>(p);
  }
}

template <class Tile, int kUnit>
void filter_gradient_in_any_order(const Problem& p) {
  using Math = kernels::tensor_core::Tf32;
  const auto gather = tiles::forward_gather(p.s);
  EXPECT_TRUE(expect_sums(same_in_any_order(p.w.shape(),
                                            [&](const auto& conv, float* dw) {
                                              conv.template run_gradient<Math, Tile, kUnit>(
                                                  gather, p.s.K, p.x.f32(), p.dy.f32(), dw);
                                            }),
                          p.want.dw));
}

TEST(Conv2dTiles, FilterGradientInEveryTile) {
  for (const ConvShape& s :
       {ConvShape{2, 9, 14, 48, 36, 3, 3, 1, {1, 1, 1, 1}}, ConvShape{1, 12, 11, 68, 132, 1, 1, 1, {}},
        ConvShape{2, 8, 8, 32, 8, 3, 3, 2, {0, 0, 1, 1}}}) {
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    filter_gradient_in_any_order<tiles::Large, 16>(p);
    filter_gradient_in_any_order<tiles::Small, 16>(p);
    filter_gradient_in_any_order<tiles::Small, 4>(p);
  }
}

TEST(Conv2dTiles, EpilogueInOnePartAndInSeveral) {
  // 36 columns go in vectors, 37 one by one; 20 terms are one part, 1200 several.
  for (const int k : {36, 37})
    for (const int c : {20, 1200}) {
      const ConvShape s{1, 5, 6, c, k, 1, 1, 1, {}};
      SCOPED_TRACE(describe(s));
      const Problem p(s, Precision::kFp32);
      const Tensor bias = random_tensor({k}, Device::kCpu, 4),
                   residual = random_tensor(p.dy.shape(), Device::kCpu, 5);
      const auto act = Activation::leaky(0.1f);
      EmulatedMachine machine;
      const Tensor y = residual.clone();  // the residual may be y itself
      tiles::Conv2d<EmulatedMachine>{machine, Precision::kFp32}.gather_gemm(
          tiles::forward_gather(s), k, p.x.f32(), p.w.f32(), {bias.f32(), y.f32(), act}, y.f32());
      EXPECT_EQ(machine.buffers.size(), c > 1000 ? 1u : 0u);
      Sums want = p.want.y;
      for (size_t i = 0; i < want.value.size(); ++i) {
        const int64_t at = static_cast<int64_t>(i);
        want.add(at, bias.to_vector()[i % static_cast<size_t>(k)]);
        want.add(at, residual.f32()[i]);
        if (want.value[i] < 0) want.value[i] *= 0.1;
      }
      EXPECT_TRUE(expect_sums(y, want));
    }
}

// Row blocks of one and of many; columns of the narrow and of the medium tile, with tails.
constexpr ConvShape kReducing[] = {{2, 5, 6, 20, 12, 1, 1, 1, {}},
                                   {2, 9, 14, 48, 36, 3, 3, 1, {1, 1, 1, 1}},
                                   {1, 12, 11, 68, 132, 1, 1, 1, {}},
                                   {1, 100, 90, 4, 8, 1, 1, 1, {}}};

TEST(Conv2dTiles, MomentsOfTheResults) {
  for (const ConvShape& s : kReducing) {
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    const Tensor moments({2, s.K}), want({2, s.K});
    ASSERT_TRUE(tiles::takes_reducing<float>(tiles::forward_gather(s), s.K));
    const Tensor y = same_in_any_order(p.dy.shape(), [&](const auto& conv, float* out) {
      tiles::ReducingConv2d<EmulatedMachine>{conv.machine, conv.precision}.forward_with_moments(
          tiles::forward_gather(s), s.K, p.x.f32(), {}, p.w.f32(), out, moments.f32());
    });
    EXPECT_TRUE(expect_sums(y, p.want.y));
    const ReferenceKernels reference;
    kernels::batch_norm_statistics(Device::kCpu, y.elements() / s.K, s.K, y.f32(), want.f32(),
                                   want.f32() + s.K);
    EXPECT_TRUE(expect_close(moments, want, {1e-5, 1e-1}));  // sums in another order
  }
}

TEST(Conv2dTiles, DataGradientThroughTheNorm) {
  for (const ConvShape& s : kReducing) {
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    const Tensor factor = random_tensor({s.C}, Device::kCpu, 4),
                 offset = random_tensor({s.C}, Device::kCpu, 5), mean = random_tensor({s.C}, Device::kCpu, 6);
    const kernels::InputNorm norm{factor.f32(), offset.f32(), mean.f32(), Activation::leaky(0.1f)};
    const Tensor sums({2, s.C}), want(p.x.shape()), want_sums({2, s.C}), z(p.x.shape()), w = turned(s, p.w);
    const Tensor dx = same_in_any_order(p.x.shape(), [&](const auto& conv, float* out) {
      tiles::ReducingConv2d<EmulatedMachine>{conv.machine, conv.precision}.gradient_through_norm(
          tiles::backward_gather(s), s.C, p.dy.f32(), w.f32(), p.x.f32(), norm, out, sums.f32());
    });
    EmulatedMachine machine;
    tiles::Conv2d<EmulatedMachine>{machine, Precision::kTf32}.gather_gemm(
        tiles::backward_gather(s), s.C, p.dy.f32(), w.f32(), {}, want.f32());
    const ReferenceKernels reference;
    const int64_t rows = z.elements() / s.C;
    kernels::normalize_forward<float>(Device::kCpu, rows, s.C, p.x.f32(), norm, nullptr, z.f32());
    kernels::normalize_backward<float>(Device::kCpu, rows, s.C, p.x.f32(), norm, z.f32(), want.f32(),
                                       want.f32(), want_sums.f32(), nullptr);
    EXPECT_TRUE(expect_close(dx, want, {1e-5, 1.0}));         // the loop may be split in parts
    EXPECT_TRUE(expect_close(sums, want_sums, {1e-4, 1.0}));  // sums of thousands in another order
  }
}

TEST(Conv2dTiles, PointwiseReadsThroughANorm) {
  for (const ConvShape& s :
       {kReducing[0], kReducing[2], kReducing[3], ConvShape{2, 7, 6, 24, 8, 1, 1, 2, {}}}) {
    SCOPED_TRACE(describe(s));
    ASSERT_TRUE(tiles::takes_normed<float>(s));
    const Problem p(s);
    const Tensor factor = random_tensor({s.C}, Device::kCpu, 4),
                 offset = random_tensor({s.C}, Device::kCpu, 5);
    const kernels::InputNorm norm{.factor = factor.f32(), .offset = offset.f32(), .act = Activation::relu6()};
    const auto gather = tiles::forward_gather(s);
    const Tensor z(p.x.shape()), moments({2, s.K}), plain_moments({2, s.K}), plain(p.dy.shape()),
        plain_dw(p.w.shape());
    for (int64_t i = 0; i < z.elements(); ++i)
      z.f32()[i] = norm.act(std::fma(factor.f32()[i % s.C], p.x.f32()[i], offset.f32()[i % s.C]));
    EmulatedMachine machine;
    const tiles::ReducingConv2d<EmulatedMachine> conv{machine, Precision::kTf32};
    conv.forward_with_moments(gather, s.K, z.f32(), {}, p.w.f32(), plain.f32(), plain_moments.f32());
    const Tensor y = same_in_any_order(p.dy.shape(), [&](const auto& c, float* out) {
      tiles::ReducingConv2d<EmulatedMachine>{c.machine, c.precision}.forward_with_moments(
          gather, s.K, p.x.f32(), norm, p.w.f32(), out, moments.f32());
    });
    EXPECT_EQ(y.to_vector(), plain.to_vector());
    EXPECT_EQ(moments.to_vector(), plain_moments.to_vector());
    tiles::Conv2d<EmulatedMachine>{machine, Precision::kTf32}.filter_gradient(
        tiles::TileName::kSmall, gather, s.K, z.f32(), p.dy.f32(), plain_dw.f32());
    const Tensor dw = same_in_any_order(p.w.shape(), [&](const auto& c, float* out) {
      tiles::normed_filter_gradient(c.machine, c.precision, gather, s.K, p.x.f32(), norm, p.dy.f32(), out);
    });
    EXPECT_EQ(dw.to_vector(), plain_dw.to_vector());
  }
}

TEST(Conv2dTiles, SeveralPartsRepeatBitForBit) {
  const ConvShape s{3, 20, 21, 16, 12, 3, 3, 1, {1, 1, 1, 1}};
  const Problem p(s);
  const auto run = [&](const auto& conv, float* dw) {
    conv.filter_gradient(tiles::forward_gather(s), s.K, p.x.f32(), p.dy.f32(), dw);
  };
  EXPECT_TRUE(expect_sums(same_in_any_order(p.w.shape(), run), p.want.dw));
}

TEST(Divisor, DividesAsTheMachineDoes) {
  for (const int d : {1, 2, 3, 5, 7, 14, 56, 112, 224, 608, 65535, 1 << 20, 2147483647})
    for (const int64_t n : {0, 1, 2, 6, 7, 13, 14, 55, 1000003, 123456789, 2147483646, 2147483647})
      EXPECT_EQ(kernels::Divisor(d).divide(static_cast<int>(n)), n / d) << n << " / " << d;
}

TEST(TensorCore, RoundsToTheNearest) {
  using namespace kernels::warp;
  EXPECT_EQ(float_of(to_tf32(1.0f + 0x1p-11f)), 1.0f + 0x1p-10f);
  EXPECT_EQ(float_of(to_tf32(1.0f + 0x1p-12f)), 1.0f);
  EXPECT_TRUE(std::isnan(float_of(to_tf32(std::nanf("")))));
  EXPECT_EQ(float_of(to_bf16_pair(1.0f + 0x1p-8f, 0) << 16), 1.0f);  // a tie goes to even
  EXPECT_EQ(float_of(to_bf16_pair(0, -3.0f)), -3.0f);
}

}  // namespace
}  // namespace espalier::test
