// The GPU's depthwise loops, run in the emulator, against the formula in double.

#include "kernels/depthwise_passes.h"

#include <gtest/gtest.h>

#include "kernels/batch_norm.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "support/emulated_machine.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using kernels::ConvShape;
namespace strips = kernels::strips;

constexpr ConvShape kCases[] = {
    {2, 5, 6, 12, 12, 3, 3, 1, {1, 1, 1, 1}},    // channels that fill no 16 bytes of bf16
    {1, 9, 11, 36, 36, 3, 3, 1, {1, 1, 1, 1}},   // two strips
    {2, 7, 6, 8, 8, 3, 3, 2, {1, 1, 1, 1}},      // stride leaves a remainder in w only
    {2, 8, 8, 32, 32, 3, 3, 2, {0, 0, 1, 1}},    // padded at the ends only
    {1, 13, 9, 4, 4, 3, 3, 2, {2, 2, 0, 1}},     // more padding at the start than the filter needs
    {2, 3, 2, 20, 20, 3, 3, 1, {1, 1, 1, 1}},    // narrower than the filter
    {2, 1, 1, 4, 4, 3, 3, 1, {1, 1, 1, 1}},      // one pixel
    {2, 1, 1, 4, 4, 3, 3, 2, {1, 1, 1, 1}},      // and with stride
    {2, 9, 1, 8, 8, 3, 3, 1, {1, 1, 1, 1}},      // one pixel wide
    {1, 1, 21, 8, 8, 3, 3, 2, {1, 1, 1, 1}},     // one pixel high
    {1, 6, 7, 4, 4, 3, 3, 1, {4, 5, 3, 6}},      // padding wider than the filter
    {1, 6, 7, 4, 4, 3, 3, 2, {4, 5, 3, 6}},      // and with stride
    {3, 17, 19, 16, 16, 3, 3, 1, {0, 0, 0, 0}},  // no padding
    {3, 22, 17, 16, 16, 3, 3, 2, {1, 1, 1, 1}},  // odd and even extents with stride
    {1, 5, 139, 64, 64, 3, 3, 1, {1, 1, 1, 1}},  // several tiles of columns
    {1, 5, 139, 64, 64, 3, 3, 2, {1, 1, 1, 1}},
    {2, 4, 5, 600, 600, 3, 3, 1, {1, 1, 1, 1}},    // groups of channels of which the last is not full
    {140, 4, 3, 520, 520, 3, 3, 1, {1, 1, 1, 1}},  // more tiles than parts
    {140, 4, 3, 520, 520, 3, 3, 2, {1, 1, 1, 1}}};

struct Problem {
  ConvShape s;
  Tensor x, w, dy;
  explicit Problem(const ConvShape& s)
      : s(s),
        x(random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1)),
        w(random_tensor({s.R, s.S, s.C}, Device::kCpu, 2)),
        dy(random_tensor({s.N, s.P(), s.Q(), s.C}, Device::kCpu, 3)) {}
};

/// As the loops round it.
void normalise(const Tensor& x, const kernels::InputNorm& norm, const Tensor& z) {
  for (int64_t i = 0; i < z.elements(); ++i) {
    const int64_t c = i % x.channels();
    z.f32()[i] = norm.act(std::fma(norm.factor[c], x.f32()[i], norm.offset[c]));
  }
}

TEST(DepthwiseStrips, MatchTheFormula) {
  for (const ConvShape& s : kCases) {
    SCOPED_TRACE(describe(s));
    ASSERT_TRUE(strips::takes(s));
    const Problem p(s);
    const ConvReference want = conv_reference(s, true, p.x, p.w, p.dy);
    for (const Schedule schedule : {Schedule::kForwardLate, Schedule::kBackwardEarly}) {
      EmulatedMachine machine = hopper(schedule);
      const Tensor y(p.dy.shape()), dx(p.x.shape()), dw(p.w.shape());
      strips::forward(machine, s, p.x.f32(), {}, p.w.f32(), {}, y.f32());
      EXPECT_TRUE(expect_sums(y, want.y)) << "y";
      strips::backward_x(machine, s, p.dy.f32(), p.w.f32(), dx.f32());
      EXPECT_TRUE(expect_sums(dx, want.dx)) << "dx";
      strips::backward_w(machine, s, p.x.f32(), {}, p.dy.f32(), dw.f32());
      EXPECT_TRUE(expect_sums(dw, want.dw)) << "dw";
    }
  }
}

TEST(DepthwiseStrips, TakeTheNormOfTheirInputWithThem) {
  for (const ConvShape& s : {kCases[0], kCases[2]}) {
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    const Tensor factor = random_tensor({s.C}, Device::kCpu, 4),
                 offset = random_tensor({s.C}, Device::kCpu, 5);
    const kernels::InputNorm norm{.factor = factor.f32(), .offset = offset.f32(), .act = Activation::relu6()};
    const Tensor z(p.x.shape());
    normalise(p.x, norm, z);
    EmulatedMachine machine = hopper();
    const Tensor plain(p.dy.shape()), fused(p.dy.shape()), dw(p.w.shape()), fused_dw(p.w.shape());
    strips::forward(machine, s, z.f32(), {}, p.w.f32(), {}, plain.f32());
    strips::forward(machine, s, p.x.f32(), norm, p.w.f32(), {}, fused.f32());
    EXPECT_EQ(fused.to_vector(), plain.to_vector());
    strips::backward_w(machine, s, z.f32(), {}, p.dy.f32(), dw.f32());
    strips::backward_w(machine, s, p.x.f32(), norm, p.dy.f32(), fused_dw.f32());
    EXPECT_EQ(fused_dw.to_vector(), dw.to_vector());
  }
}

TEST(DepthwiseStrips, MomentsOfTheResults) {
  for (const ConvShape& s : kCases) {
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    const Tensor y(p.dy.shape()), plain(y.shape()), moments({2, s.C}), want({2, s.C});
    EmulatedMachine machine{.schedule = Schedule::kBackwardEarly};
    strips::forward_with_moments(machine, s, p.x.f32(), {}, p.w.f32(), y.f32(), moments.f32());
    strips::forward(machine, s, p.x.f32(), {}, p.w.f32(), {}, plain.f32());
    EXPECT_EQ(y.to_vector(), plain.to_vector());
    const ReferenceKernels reference;
    kernels::batch_norm_statistics(Device::kCpu, y.elements() / s.C, s.C, y.f32(), want.f32(),
                                   want.f32() + s.C);
    EXPECT_TRUE(expect_close(moments, want, {1e-5, 1e-1}));  // sums in another order
  }
}

/// Both gradients in one pass, of a dy that is whole or that the pass completes, against the steps one by
/// one.
TEST(DepthwiseStrips, GradientsThroughTheNorm) {
  for (const ConvShape& s : kCases)
    for (const bool completes : {false, true}) {
      SCOPED_TRACE(str(describe(s), " completes ", completes));
      const Problem p(s);
      const auto channels = [&](uint64_t seed) { return random_tensor({s.C}, Device::kCpu, seed); };
      const Tensor factor = channels(4), offset = channels(5), mean = channels(6), constant = channels(7),
                   slope = channels(8), mean_of_y = channels(9);
      const Tensor y = random_tensor(p.dy.shape(), Device::kCpu, 10), whole = p.dy.clone();
      kernels::OutputGradient<float> gradient{.g = p.dy.f32()};
      if (completes) {
        gradient = {p.dy.f32(), y.f32(), constant.f32(), slope.f32(), mean_of_y.f32()};
        for (int64_t i = 0; i < whole.elements(); ++i)
          whole.f32()[i] +=
              std::fma(slope.f32()[i % s.C], y.f32()[i] - mean_of_y.f32()[i % s.C], constant.f32()[i % s.C]);
      }
      const kernels::InputNorm norm{factor.f32(), offset.f32(), mean.f32(), Activation{0.1f, 1.5f}};
      const Tensor dx(p.x.shape()), sums({2, s.C}), dw(p.w.shape()), want(p.x.shape()), want_sums({2, s.C}),
          z(p.x.shape());
      const int64_t rows = z.elements() / s.C;
      normalise(p.x, norm, z);
      const ConvReference formula = conv_reference(s, true, z, p.w, whole);
      EmulatedMachine machine = hopper();
      strips::backward_x(machine, s, whole.f32(), p.w.f32(), want.f32());
      {
        const ReferenceKernels reference;
        kernels::normalize_backward<float>(Device::kCpu, rows, s.C, p.x.f32(), norm, z.f32(), want.f32(),
                                           want.f32(), want_sums.f32(), nullptr);
      }
      for (const Schedule schedule : {Schedule::kForwardLate, Schedule::kBackwardEarly}) {
        machine.schedule = schedule;
        strips::backward_through_norm(machine, s, p.x.f32(), norm, gradient, p.w.f32(), dx.f32(), sums.f32(),
                                      dw.f32());
        EXPECT_TRUE(expect_close(dx, want, {1e-6, 1e-1}));
        EXPECT_TRUE(expect_close(sums, want_sums, {1e-5, 10.0}));  // sums in another order
        EXPECT_TRUE(expect_sums(dw, formula.dw)) << "dw";
      }
      const Tensor alone(dx.shape()), sums_alone(sums.shape());
      strips::backward_through_norm<EmulatedMachine, float>(machine, s, p.x.f32(), norm, gradient, p.w.f32(),
                                                            alone.f32(), sums_alone.f32(), nullptr);
      EXPECT_EQ(alone.to_vector(), dx.to_vector());
      EXPECT_EQ(sums_alone.to_vector(), sums.to_vector());
    }
}

TEST(DepthwiseStrips, EpilogueOfTheForwardPass) {
  for (const ConvShape& s : {kCases[1], kCases[3]}) {
    const Problem p(s);
    const Tensor bias = random_tensor({s.C}, Device::kCpu, 4),
                 y = random_tensor(p.dy.shape(), Device::kCpu, 5);
    Sums want = conv_reference(s, true, p.x, p.w, p.dy).y;
    for (size_t i = 0; i < want.value.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i);
      want.add(at, bias.f32()[at % s.C]);
      want.add(at, y.f32()[i]);
      if (want.value[i] < 0) want.value[i] *= 0.1;
    }
    EmulatedMachine machine;
    strips::forward(machine, s, p.x.f32(), {}, p.w.f32(), {bias.f32(), y.f32(), Activation::leaky(0.1f)},
                    y.f32());
    EXPECT_TRUE(expect_sums(y, want));
  }
}

/// Every channel, column, row and image is somebody's, and a block's threads and tiles are what it has.
TEST(DepthwiseStrips, CutsCoverTheWholeTensor) {
  using Pass = strips::Forward<1, Bf16, strips::PlainOutput<Bf16>>;
  for (const int channels : {4, 8, 12, 32, 96, 144, 192, 384, 576, 960, 2052})
    for (const int columns : {1, 7, 8, 9, 14, 56, 112, 300, 2049})
      for (const int rows : {1, 7, 112}) {
        SCOPED_TRACE(str(channels, 'x', columns, 'x', rows));
        const strips::Cut cut(channels, columns, rows, 3, Pass::kUnits, Pass::kLead);
        const int across = static_cast<int>(cut.by_columns.divisor),
                  down = static_cast<int>(cut.by_rows.divisor);
        EXPECT_EQ(cut.pairs % 4, 0);
        EXPECT_LE(cut.pairs * cut.strips, strips::kRowThreads);
        EXPECT_GE(cut.groups * cut.pairs * 2, channels);
        EXPECT_LT((cut.groups - 1) * cut.pairs * 2, channels);
        EXPECT_GE(across * cut.strips * cut.units, columns);
        EXPECT_LT((across - 1) * cut.strips * cut.units, columns);
        EXPECT_GE(down * cut.length, rows);
        EXPECT_LT((down - 1) * cut.length, rows);
        EXPECT_EQ(cut.tiles, across * down * 3);
        EXPECT_LE(cut.parts, cut.tiles);
      }
}

/// Blocks of consumers' cards have 99 KiB. What does not fit is left to others, and all that is asked for
/// fits.
TEST(DepthwiseStrips, LeaveWhatDoesNotFitToOthers) {
  for (const ConvShape& s : {kCases[1], kCases[2]}) {
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    const Tensor y(p.dy.shape()), dx(p.x.shape()), sums({2, s.C}), dw(p.w.shape());
    const Tensor factor = random_tensor({s.C}, Device::kCpu, 4);
    const kernels::InputNorm norm{.factor = factor.f32(), .offset = factor.f32()};
    const kernels::OutputGradient<float> dy{.g = p.dy.f32()};
    for (const int64_t kib : {8, 99, 163, 227}) {
      EmulatedMachine machine{.shared_memory_of_block = kib * 1024};
      const int all = strips::forward(machine, s, p.x.f32(), {}, p.w.f32(), {}, y.f32()) +
                      strips::backward_x(machine, s, p.dy.f32(), p.w.f32(), dx.f32()) +
                      strips::backward_w(machine, s, p.x.f32(), {}, p.dy.f32(), dw.f32()) +
                      strips::backward_through_norm(machine, s, p.x.f32(), norm, dy, p.w.f32(), dx.f32(),
                                                    sums.f32(), dw.f32());
      EXPECT_EQ(all, kib == 8 ? 0 : kib == 99 ? 3 : 4) << kib;
      EXPECT_EQ(machine.launches > 0, all > 0);
    }
  }
}

TEST(DepthwiseStrips, LeaveOtherProblemsToTheSharedBody) {
  EXPECT_FALSE(strips::takes({1, 5, 5, 6, 6, 3, 3, 1, {}}));
  EXPECT_FALSE(strips::takes({1, 9, 9, 8, 8, 5, 5, 1, {}}));
  EXPECT_FALSE(strips::takes({1, 9, 9, 8, 8, 3, 3, 3, {}}));
}

}  // namespace
}  // namespace espalier::test
