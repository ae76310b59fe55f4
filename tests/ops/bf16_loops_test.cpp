// The GPU's loops over activations stored as bf16, run in the emulator, against the same loops over floats of
// the same numbers: what differs is the last rounding.

#include <gtest/gtest.h>

#include "kernels/channel_maps.h"
#include "kernels/conv2d_tiles.h"
#include "kernels/depthwise_passes.h"
#include "kernels/pixel_maps.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "support/bf16.h"
#include "support/emulated_machine.h"

namespace espalier::test {
namespace {

using kernels::ConvShape;
using kernels::InputNorm;
using kernels::Precision;
namespace channels = kernels::channels;
namespace pixels = kernels::pixels;
namespace strips = kernels::strips;
namespace tiles = kernels::tiles;

constexpr Tolerance kRounded{kBf16Relative, 1e-2};
constexpr Schedule kSchedules[] = {Schedule::kForwardLate, Schedule::kBackwardEarly};

/// Random numbers twice: as bf16, and the same as floats.
struct Pair {
  Tensor stored, floats;
  Pair(const Shape& shape, uint64_t seed)
      : stored(as_bf16(random_tensor(shape, Device::kCpu, seed))), floats(as_f32(stored)) {}
};

Tensor empty_bf16(const Shape& shape) { return Tensor(shape, Device::kCpu, DType::kBF16); }

/// run(machine, output) in both orders of threads, which must give the same bits.
template <class Run>
Tensor in_any_order(const Tensor& like, const Run& run) {
  Tensor first;
  for (const Schedule schedule : kSchedules) {
    EmulatedMachine machine{.schedule = schedule};
    const Tensor out(like.shape(), Device::kCpu, like.dtype());
    run(machine, out);
    if (!first.defined()) first = out;
    EXPECT_EQ(out.to_vector(), first.to_vector()) << "depends on the order of threads";
  }
  return first;
}

struct Dense {
  ConvShape s;
  Pair x, w, dy;
  Tensor turned, turned_floats;
  explicit Dense(const ConvShape& s)
      : s(s),
        x({s.N, s.H, s.W, s.C}, 1),
        w({s.K, s.R, s.S, s.C}, 2),
        dy({s.N, s.P(), s.Q(), s.K}, 3),
        turned(empty_bf16({s.C, s.R, s.S, s.K})),
        turned_floats({s.C, s.R, s.S, s.K}) {
    const tiles::TurnFilters<Bf16> turn{s.K, s.R, s.S, s.C, w.floats.f32(), turned.bf16()};
    const tiles::TurnFilters<float> turn_floats{s.K, s.R, s.S, s.C, w.floats.f32(), turned_floats.f32()};
    for (int64_t i = 0; i < turned.elements(); ++i) turn(i), turn_floats(i);
  }
};

/// Against the formula, whose sums in double are rounded once.
testing::AssertionResult expect_rounded(const Tensor& got, const Sums& want) {
  return expect_close(got.to_vector(), want.value, kRounded);
}

TEST(Bf16Loops, DenseConvolutionOnEveryShape) {
  for (const ConvShape& s : kConvCases) {
    SCOPED_TRACE(describe(s));
    const Dense p(s);
    const ConvReference want = conv_reference(s, false, p.x.floats, p.w.floats, p.dy.floats);
    const auto conv = [](EmulatedMachine& m) { return tiles::Conv2d<EmulatedMachine>{m, Precision::kBf16}; };
    const Tensor y = in_any_order(p.dy.stored, [&](EmulatedMachine& m, const Tensor& out) {
      conv(m).gather_gemm(tiles::forward_gather(s), s.K, p.x.stored.bf16(), p.w.stored.bf16(), {},
                          out.bf16());
    });
    EXPECT_TRUE(expect_rounded(y, want.y)) << "y";
    const Tensor dx = in_any_order(p.x.stored, [&](EmulatedMachine& m, const Tensor& out) {
      conv(m).gather_gemm(tiles::backward_gather(s), s.C, p.dy.stored.bf16(), p.turned.bf16(), {},
                          out.bf16());
    });
    EXPECT_TRUE(expect_rounded(dx, want.dx)) << "dx";
    const Tensor dw = in_any_order(p.w.floats, [&](EmulatedMachine& m, const Tensor& out) {
      conv(m).filter_gradient(tiles::forward_gather(s), s.K, p.x.stored.bf16(), p.dy.stored.bf16(),
                              out.f32());
    });
    EXPECT_TRUE(expect_sums(dw, want.dw)) << "dw";
  }
}

template <class Tile, int kUnit>
void every_pass(const Dense& p, const ConvReference& want) {
  const ConvShape& s = p.s;
  const Tensor y = in_any_order(p.dy.stored, [&](EmulatedMachine& m, const Tensor& out) {
    tiles::Conv2d<EmulatedMachine>{m, Precision::kBf16}
        .template run_gather<kernels::tensor_core::StoredBf16, Tile, kUnit>(
            tiles::forward_gather(s), s.K, p.x.stored.bf16(), p.w.stored.bf16(), {}, out.bf16());
  });
  EXPECT_TRUE(expect_rounded(y, want.y));
}

template <class Tile, int kUnit, int kLeftUnit = kUnit>
void filter_gradient(const Dense& p, const ConvReference& want) {
  const Tensor dw = in_any_order(p.w.floats, [&](EmulatedMachine& m, const Tensor& out) {
    tiles::Conv2d<EmulatedMachine>{m, Precision::kBf16}
        .template run_gradient<kernels::tensor_core::PairedBf16, Tile, kUnit, kLeftUnit>(
            tiles::forward_gather(p.s), p.s.K, p.x.stored.bf16(), p.dy.stored.bf16(), out.f32());
  });
  EXPECT_TRUE(expect_sums(dw, want.dw));
}

TEST(Bf16Loops, DenseConvolutionInEveryTile) {
  for (const ConvShape& s :
       {ConvShape{2, 9, 14, 48, 40, 3, 3, 1, {1, 1, 1, 1}}, ConvShape{1, 12, 11, 72, 136, 1, 1, 1, {}},
        ConvShape{2, 8, 8, 32, 8, 3, 3, 2, {0, 0, 1, 1}}}) {
    SCOPED_TRACE(describe(s));
    const Dense p(s);
    const ConvReference want = conv_reference(s, false, p.x.floats, p.w.floats, p.dy.floats);
    every_pass<tiles::Large, 16>(p, want);
    every_pass<tiles::Medium, 16>(p, want);
    every_pass<tiles::Narrow, 16>(p, want);
    every_pass<tiles::Small, 16>(p, want);
    every_pass<tiles::Small, 8>(p, want);
    every_pass<tiles::Small, 4>(p, want);
    every_pass<tiles::Small, 0>(p, want);
    filter_gradient<tiles::Large, 16>(p, want);
    filter_gradient<tiles::Small, 16>(p, want);
    filter_gradient<tiles::Small, 8>(p, want);
    filter_gradient<tiles::Small, 4>(p, want);
    filter_gradient<tiles::Small, 0>(p, want);
    filter_gradient<tiles::Small, 16, 0>(p, want);
    filter_gradient<tiles::Small, 0, 16>(p, want);
  }
}

/// A norm of C channels with numbers of its own.
struct Norm {
  Tensor factor, offset, mean;
  InputNorm norm;
  Norm(int C, Activation act)
      : factor(random_tensor({C}, Device::kCpu, 4)),
        offset(random_tensor({C}, Device::kCpu, 5)),
        mean(random_tensor({C}, Device::kCpu, 6)),
        norm{factor.f32(), offset.f32(), mean.f32(), act} {}
};

/// Row blocks of one and of many; columns of the narrow and of the medium tile, with tails.
constexpr ConvShape kReducing[] = {{2, 5, 6, 24, 12, 1, 1, 1, {}},
                                   {2, 9, 14, 48, 40, 3, 3, 1, {1, 1, 1, 1}},
                                   {1, 12, 11, 72, 136, 1, 1, 1, {}},
                                   {1, 100, 90, 8, 8, 1, 1, 1, {}}};

TEST(Bf16Loops, DenseConvolutionWithMomentsThroughANorm) {
  for (const ConvShape& s : kReducing)
    for (const bool with_norm : {false, true}) {
      if (with_norm && !tiles::takes_normed<Bf16>(s)) continue;
      SCOPED_TRACE(str(describe(s), " norm ", with_norm));
      const Dense p(s);
      const Norm n(s.C, Activation::relu6());
      const InputNorm norm = with_norm ? n.norm : InputNorm{};
      ASSERT_TRUE(tiles::takes_reducing<Bf16>(tiles::forward_gather(s), s.K));
      const Tensor moments({2, s.K}), want_moments({2, s.K}), want(p.dy.floats.shape());
      const Tensor y = in_any_order(p.dy.stored, [&](EmulatedMachine& m, const Tensor& out) {
        tiles::ReducingConv2d<EmulatedMachine>{m, Precision::kBf16}.forward_with_moments(
            tiles::forward_gather(s), s.K, p.x.stored.bf16(), norm, p.w.stored.bf16(), out.bf16(),
            moments.f32());
      });
      EmulatedMachine machine;
      tiles::ReducingConv2d<EmulatedMachine>{machine, Precision::kBf16}.forward_with_moments(
          tiles::forward_gather(s), s.K, p.x.floats.f32(), norm, p.w.floats.f32(), want.f32(),
          want_moments.f32());
      EXPECT_TRUE(expect_close(y, want, kRounded));
      EXPECT_TRUE(expect_close(moments, want_moments, {1e-4, 1e-1}));  // sums in another order
      if (!with_norm) continue;
      const Tensor want_dw(p.w.floats.shape());
      const auto gradient = [&](EmulatedMachine& m, const auto* x, const auto* dy, const Tensor& out) {
        tiles::normed_filter_gradient(m, Precision::kBf16, tiles::forward_gather(s), s.K, x, norm, dy,
                                      out.f32());
      };
      gradient(machine, p.x.floats.f32(), p.dy.floats.f32(), want_dw);
      const Tensor dw = in_any_order(p.w.floats, [&](EmulatedMachine& m, const Tensor& out) {
        gradient(m, p.x.stored.bf16(), p.dy.stored.bf16(), out);
      });
      EXPECT_TRUE(expect_close(dw, want_dw, {1e-4, 1.0}));  // sums in another order
    }
}

TEST(Bf16Loops, DenseGradientThroughTheNorm) {
  for (const ConvShape& s : kReducing) {
    SCOPED_TRACE(describe(s));
    const Dense p(s);
    const Norm n(s.C, Activation::leaky(0.1f));
    if (!tiles::takes_reducing<Bf16>(tiles::backward_gather(s), s.C)) continue;
    const Tensor sums({2, s.C}), want_sums({2, s.C}), want(p.x.floats.shape());
    const Tensor dx = in_any_order(p.x.stored, [&](EmulatedMachine& m, const Tensor& out) {
      tiles::ReducingConv2d<EmulatedMachine>{m, Precision::kBf16}.gradient_through_norm(
          tiles::backward_gather(s), s.C, p.dy.stored.bf16(), p.turned.bf16(), p.x.stored.bf16(), n.norm,
          out.bf16(), sums.f32());
    });
    EmulatedMachine machine;
    tiles::ReducingConv2d<EmulatedMachine>{machine, Precision::kBf16}.gradient_through_norm(
        tiles::backward_gather(s), s.C, p.dy.floats.f32(), p.turned_floats.f32(), p.x.floats.f32(), n.norm,
        want.f32(), want_sums.f32());
    EXPECT_TRUE(expect_close(dx, want, kRounded));
    EXPECT_TRUE(expect_close(sums, want_sums, {1e-4, 1.0}));  // sums in another order
  }
}

constexpr ConvShape kDepthwise[] = {
    {2, 5, 6, 12, 12, 3, 3, 1, {1, 1, 1, 1}},   {1, 9, 11, 36, 36, 3, 3, 1, {1, 1, 1, 1}},
    {2, 7, 6, 8, 8, 3, 3, 2, {1, 1, 1, 1}},     {3, 22, 17, 16, 16, 3, 3, 2, {1, 1, 1, 1}},
    {2, 8, 7, 28, 28, 3, 3, 2, {0, 0, 1, 1}},   {2, 9, 1, 8, 8, 3, 3, 1, {1, 1, 1, 1}},
    {1, 5, 139, 64, 64, 3, 3, 1, {1, 1, 1, 1}}, {2, 4, 5, 600, 600, 3, 3, 1, {1, 1, 1, 1}}};

TEST(Bf16Loops, DepthwiseConvolution) {
  for (const ConvShape& s : kDepthwise) {
    SCOPED_TRACE(describe(s));
    const Pair x({s.N, s.H, s.W, s.C}, 1), dy({s.N, s.P(), s.Q(), s.C}, 3);
    const Tensor w = random_tensor({s.R, s.S, s.C}, Device::kCpu, 2);
    const Norm n(s.C, Activation::relu6());
    EmulatedMachine machine = hopper();
    const Tensor y = empty_bf16(dy.floats.shape()), want_y(dy.floats.shape()), moments({2, s.C}),
                 want_moments({2, s.C});
    strips::forward(machine, s, x.stored.bf16(), n.norm, w.f32(), {}, y.bf16());
    strips::forward(machine, s, x.floats.f32(), n.norm, w.f32(), {}, want_y.f32());
    EXPECT_TRUE(expect_close(y, want_y, kRounded)) << "y";
    strips::forward_with_moments(machine, s, x.stored.bf16(), n.norm, w.f32(), y.bf16(), moments.f32());
    strips::forward_with_moments(machine, s, x.floats.f32(), n.norm, w.f32(), want_y.f32(),
                                 want_moments.f32());
    EXPECT_TRUE(expect_close(y, want_y, kRounded)) << "y with moments";
    EXPECT_EQ(moments.to_vector(), want_moments.to_vector()) << "of what was not rounded yet";
    const Tensor dx = empty_bf16(x.floats.shape()), want_dx(x.floats.shape()), sums({2, s.C}),
                 want_sums({2, s.C}), dw(w.shape()), want_dw(w.shape());
    strips::backward_x(machine, s, dy.stored.bf16(), w.f32(), dx.bf16());
    strips::backward_x(machine, s, dy.floats.f32(), w.f32(), want_dx.f32());
    EXPECT_TRUE(expect_close(dx, want_dx, kRounded)) << "dx";
    const Norm completes(s.C, Activation::none());
    const Pair y_before(dy.floats.shape(), 7);
    strips::backward_through_norm(machine, s, x.stored.bf16(), n.norm,
                                  {dy.stored.bf16(), y_before.stored.bf16(), completes.norm.factor,
                                   completes.norm.offset, completes.norm.mean},
                                  w.f32(), dx.bf16(), sums.f32(), dw.f32());
    strips::backward_through_norm(machine, s, x.floats.f32(), n.norm,
                                  {dy.floats.f32(), y_before.floats.f32(), completes.norm.factor,
                                   completes.norm.offset, completes.norm.mean},
                                  w.f32(), want_dx.f32(), want_sums.f32(), want_dw.f32());
    EXPECT_TRUE(expect_close(dx, want_dx, kRounded)) << "dx through the norm";
    EXPECT_EQ(sums.to_vector(), want_sums.to_vector());
    EXPECT_EQ(dw.to_vector(), want_dw.to_vector()) << "dw in the same pass";
    strips::backward_w(machine, s, x.stored.bf16(), n.norm, dy.stored.bf16(), dw.f32());
    strips::backward_w(machine, s, x.floats.f32(), n.norm, dy.floats.f32(), want_dw.f32());
    EXPECT_EQ(dw.to_vector(), want_dw.to_vector()) << "dw";
  }
}

TEST(Bf16Loops, NormalisationTakenApart) {
  for (const auto& [rows, c] : {std::pair{37, 12}, std::pair{700, 36}, std::pair{3, 4}}) {
    SCOPED_TRACE(str(rows, 'x', c));
    const Shape shape{rows, c};
    const Pair x(shape, 1), dy(shape, 2), residual(shape, 3);
    const Norm n(c, Activation::relu6());
    EmulatedMachine machine;
    const Tensor y = empty_bf16(shape), want_y(shape), dx = empty_bf16(shape), want_dx(shape),
                 dresidual = empty_bf16(shape), want_dresidual(shape), sums({2, c}), want_sums({2, c});
    channels::for_each_element(
        machine, rows, c,
        channels::NormalizeForward<Bf16>{x.stored.bf16(), n.norm, residual.stored.bf16(), y.bf16()});
    channels::for_each_element(
        machine, rows, c,
        channels::NormalizeForward<float>{x.floats.f32(), n.norm, residual.floats.f32(), want_y.f32()});
    EXPECT_TRUE(expect_close(y, want_y, kRounded));
    const Tensor y_floats = as_f32(y);
    const channels::NormGradient<Bf16> gradient{x.stored.bf16(), y.bf16(), dy.stored.bf16(), n.norm};
    const channels::NormGradient<float> want{x.floats.f32(), y_floats.f32(), dy.floats.f32(), n.norm};
    channels::sum(machine, rows, c, channels::NormSums<Bf16>{gradient}, sums.f32(), sums.f32() + c);
    channels::sum(machine, rows, c, channels::NormSums<float>{want}, want_sums.f32(), want_sums.f32() + c);
    EXPECT_EQ(sums.to_vector(), want_sums.to_vector());
    for (const kernels::MomentsTerm& term : {kernels::MomentsTerm{}, {n.offset.f32(), n.factor.f32()}}) {
      channels::for_each_element(
          machine, rows, c, channels::NormalizeBackward<Bf16>{gradient, term, dx.bf16(), dresidual.bf16()});
      channels::for_each_element(
          machine, rows, c,
          channels::NormalizeBackward<float>{want, term, want_dx.f32(), want_dresidual.f32()});
      EXPECT_EQ(dx.to_vector(), as_bf16(want_dx).to_vector());
      EXPECT_EQ(dresidual.to_vector(), as_bf16(want_dresidual).to_vector());
    }
    channels::moments(machine, rows, c, x.stored.bf16(), sums.f32(), sums.f32() + c);
    channels::moments(machine, rows, c, x.floats.f32(), want_sums.f32(), want_sums.f32() + c);
    EXPECT_EQ(sums.to_vector(), want_sums.to_vector());
    const kernels::OutputGradient<Bf16> whole{dy.stored.bf16(), x.stored.bf16(), n.factor.f32(),
                                              n.offset.f32(), n.mean.f32()};
    const kernels::OutputGradient<float> whole_floats{dy.floats.f32(), x.floats.f32(), n.factor.f32(),
                                                      n.offset.f32(), n.mean.f32()};
    channels::for_each_element(machine, rows, c, channels::WholeGradient<Bf16>{whole, dx.bf16()});
    channels::for_each_element(machine, rows, c, channels::WholeGradient<float>{whole_floats, want_dx.f32()});
    EXPECT_EQ(dx.to_vector(), as_bf16(want_dx).to_vector());
  }
}

TEST(Bf16Loops, SumsAndCasts) {
  const Pair a({5, 12}, 1), b({5, 12}, 2);
  EmulatedMachine machine;
  const Tensor sum = a.stored.clone(), floats(a.floats.shape()), stored = empty_bf16(a.floats.shape());
  pixels::for_each_unit(machine, 15, 1, pixels::AddFours<Bf16>{b.stored.bf16(), sum.bf16()});
  kernels::add_into(Device::kCpu, 60, b.floats.f32(), a.floats.f32());
  EXPECT_EQ(sum.to_vector(), as_bf16(a.floats).to_vector());
  pixels::for_each_unit(machine, 15, 1, pixels::CastFours<Bf16, float>{sum.bf16(), floats.f32()});
  EXPECT_EQ(floats.to_vector(), sum.to_vector());
  pixels::for_each_unit(machine, 15, 1, pixels::CastFours<float, Bf16>{a.floats.f32(), stored.bf16()});
  EXPECT_EQ(stored.to_vector(), as_bf16(a.floats).to_vector());
}

TEST(Bf16Loops, PoolingAndResizing) {
  const ConvShape s{2, 7, 6, 12, 12, 3, 3, 2, {1, 1, 1, 1}};
  const Pair x({s.N, s.H, s.W, s.C}, 1), dy({s.N, s.P(), s.Q(), s.C}, 2);
  const auto run = [](const Tensor& out, const auto& map) {
    EmulatedMachine machine;
    pixels::for_each_unit(machine, out.elements() / out.channels(), out.channels() / 4, map);
  };
  const Tensor y = empty_bf16(dy.floats.shape()), want_y(dy.floats.shape()),
               dx = empty_bf16(x.floats.shape()), want_dx(x.floats.shape());
  run(y, pixels::MaxPoolForward<Bf16>{s, x.stored.bf16(), y.bf16()});
  run(want_y, pixels::MaxPoolForward<float>{s, x.floats.f32(), want_y.f32()});
  EXPECT_EQ(y.to_vector(), want_y.to_vector());
  run(dx, pixels::MaxPoolBackward<Bf16>{s, x.stored.bf16(), dy.stored.bf16(), dx.bf16()});
  run(want_dx, pixels::MaxPoolBackward<float>{s, x.floats.f32(), dy.floats.f32(), want_dx.f32()});
  EXPECT_EQ(dx.to_vector(), as_bf16(want_dx).to_vector());
  const ConvShape apart{2, 6, 4, 12, 12, 2, 2, 2, {}};
  const Pair wide({2, 6, 4, 12}, 3), small({2, 3, 2, 12}, 4);
  ASSERT_TRUE(pixels::MaxPoolBackwardApart<Bf16>::takes(apart));
  ASSERT_FALSE(pixels::MaxPoolBackwardApart<Bf16>::takes(s));
  const Tensor got = empty_bf16(wide.floats.shape()), want(wide.floats.shape());
  EmulatedMachine machine;
  pixels::for_each_unit(
      machine, 12, 3,
      pixels::MaxPoolBackwardApart<Bf16>{apart, wide.stored.bf16(), small.stored.bf16(), got.bf16()});
  pixels::for_each_unit(
      machine, 48, 3,
      pixels::MaxPoolBackward<float>{apart, wide.floats.f32(), small.floats.f32(), want.f32()});
  EXPECT_EQ(got.to_vector(), want.to_vector());
  for (const auto sampling : {kernels::Sampling::kNearest, kernels::Sampling::kHalfPixel}) {
    const kernels::ResizeShape r{s.N, s.P(), s.Q(), s.C, s.H, s.W, sampling};  // upwards, from dy to x
    run(dx, pixels::ResizeForward<Bf16>{r, dy.stored.bf16(), dx.bf16()});
    run(want_dx, pixels::ResizeForward<float>{r, dy.floats.f32(), want_dx.f32()});
    EXPECT_EQ(dx.to_vector(), as_bf16(want_dx).to_vector());
    run(y, pixels::ResizeBackward<Bf16>{r, x.stored.bf16(), y.bf16()});
    run(want_y, pixels::ResizeBackward<float>{r, x.floats.f32(), want_y.f32()});
    EXPECT_EQ(y.to_vector(), as_bf16(want_y).to_vector());
    ASSERT_TRUE(pixels::ResizeBackwardOfFew<Bf16>::takes(r));
    const Tensor again = empty_bf16(y.shape());
    run(again, pixels::ResizeBackwardOfFew<Bf16>{r, x.stored.bf16(), again.bf16()});
    EXPECT_EQ(again.to_vector(), as_bf16(want_y).to_vector());
  }
}

/// Eight channels a thread give the bits that four give.
TEST(Bf16Loops, ResizesOfEightChannels) {
  const auto run = [](const Tensor& out, int channels, const auto& map) {
    EmulatedMachine machine;
    pixels::for_each_unit(machine, out.elements() / out.channels(), out.channels() / channels, map);
  };
  for (const auto sampling : {kernels::Sampling::kNearest, kernels::Sampling::kHalfPixel})
    for (const kernels::ResizeShape& s : {kernels::ResizeShape{2, 5, 6, 16, 10, 12, sampling},
                                          kernels::ResizeShape{1, 3, 4, 8, 5, 9, sampling}}) {
      const Pair x({s.N, s.H, s.W, s.C}, 1), dy({s.N, s.P, s.Q, s.C}, 2);
      const Tensor y = empty_bf16(dy.floats.shape()), want_y = empty_bf16(y.shape()),
                   dx = empty_bf16(x.floats.shape()), want_dx = empty_bf16(dx.shape());
      run(y, 8, pixels::ResizeForward<Bf16, 8>{s, x.stored.bf16(), y.bf16()});
      run(want_y, 4, pixels::ResizeForward<Bf16>{s, x.stored.bf16(), want_y.bf16()});
      EXPECT_EQ(y.to_vector(), want_y.to_vector());
      ASSERT_TRUE(pixels::ResizeBackwardOfFew<Bf16>::takes(s));
      run(dx, 8, pixels::ResizeBackwardOfFew<Bf16, 8>{s, dy.stored.bf16(), dx.bf16()});
      run(want_dx, 4, pixels::ResizeBackwardOfFew<Bf16>{s, dy.stored.bf16(), want_dx.bf16()});
      EXPECT_EQ(dx.to_vector(), want_dx.to_vector());
    }
}

}  // namespace
}  // namespace espalier::test
