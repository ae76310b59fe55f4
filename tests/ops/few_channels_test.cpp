// The GPU's loops for dense convolutions of few channels, run in the emulator, against the formula in double.

#include <gtest/gtest.h>

#include "kernels/batch_norm.h"
#include "kernels/few_channels_gradient.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "support/bf16.h"
#include "support/emulated_machine.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using kernels::ConvShape;
using kernels::Precision;
namespace few = kernels::few_channels;

constexpr Schedule kSchedules[] = {Schedule::kForwardLate, Schedule::kBackwardEarly};
constexpr Precision kPrecisions[] = {Precision::kFp32, Precision::kTf32, Precision::kBf16};

// Windows begin at either half of a word of two bf16, at both in turn, or rows of the image do.
constexpr ConvShape kCases[] = {
    {2, 17, 22, 3, 32, 3, 3, 2, {1, 1, 1, 1}},    // every window at the second half
    {2, 18, 22, 3, 32, 3, 3, 2, {0, 0, 1, 1}},    // every window at the first
    {1, 9, 18, 3, 64, 3, 3, 1, {1, 1, 1, 1}},     // in turn, two tiles of filters
    {1, 9, 18, 3, 36, 3, 3, 1, {1, 0, 1, 2}},     // in turn from the first half on, filters with a tail
    {2, 10, 17, 3, 8, 3, 3, 1, {1, 1, 1, 1}},     // rows at either half
    {2, 11, 16, 3, 12, 3, 3, 1, {0, 1, 0, 0}},    // an odd number of windows in a row
    {1, 12, 14, 4, 24, 5, 3, 1, {2, 1, 2, 1}},    // four channels, two chunks of words
    {2, 13, 16, 1, 16, 5, 5, 1, {2, 2, 2, 2}},    // one channel
    {1, 12, 15, 2, 20, 2, 4, 2, {0, 3, 1, 2}},    // two channels, more padding than the filter needs
    {1, 21, 24, 3, 8, 7, 7, 2, {3, 3, 3, 3}},     // the largest filters
    {1, 12, 14, 3, 4, 7, 7, 1, {3, 3, 3, 3}},     // the same, windows in turn: all tables
    {1, 9, 10, 4, 4, 7, 7, 1, {3, 3, 3, 3}},      // the longest sums
    {1, 46, 46, 3, 1056, 3, 3, 1, {1, 1, 1, 1}},  // several steps of a part
};

std::vector<ConvShape> cases() {
  std::vector<ConvShape> all(std::begin(kCases), std::end(kCases));
  for (const ConvShape& s : kConvCases)
    if (few::takes(s)) all.push_back(s);
  return all;
}

/// Numbers that bf16 holds, so that all arithmetics multiply them without rounding.
struct Problem {
  ConvShape s;
  Tensor stored_x, stored_w, stored_dy, x, w, dy;
  ConvReference want;
  explicit Problem(const ConvShape& s)
      : s(s),
        stored_x(as_bf16(random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1))),
        stored_w(as_bf16(random_tensor({s.K, s.R, s.S, s.C}, Device::kCpu, 2))),
        stored_dy(as_bf16(random_tensor({s.N, s.P(), s.Q(), s.K}, Device::kCpu, 3))),
        x(as_f32(stored_x)),
        w(as_f32(stored_w)),
        dy(as_f32(stored_dy)),
        want(conv_reference(s, false, x, w, dy)) {}
};

/// run(machine, out) in both orders of threads, which must give the same bits.
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

TEST(FewChannels, MatchTheFormulaInEveryPrecision) {
  for (const ConvShape& s : cases()) {
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    for (const Precision precision : kPrecisions) {
      SCOPED_TRACE(static_cast<int>(precision));
      EmulatedMachine machine;
      const Tensor y(p.dy.shape()), dw(p.w.shape());
      few::forward(machine, precision, s, p.x.f32(), p.w.f32(), {}, y.f32());
      EXPECT_TRUE(expect_sums(y, p.want.y)) << "y";
      if (!few::takes_gradient(s)) continue;
      few::filter_gradient(machine, precision, s, p.x.f32(), p.dy.f32(), dw.f32());
      EXPECT_TRUE(expect_sums(dw, p.want.dw)) << "dw";
    }
  }
}

TEST(FewChannels, MatchTheFormulaStoredAsBf16) {
  for (const ConvShape& s : cases()) {
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    const Tensor y = in_any_order(p.stored_dy, [&](EmulatedMachine& m, const Tensor& out) {
      few::forward(m, Precision::kBf16, s, p.stored_x.bf16(), p.stored_w.bf16(), {}, out.bf16());
    });
    EXPECT_TRUE(expect_close(y.to_vector(), p.want.y.value, {kBf16Relative, 1e-2})) << "y";
    if (!few::takes_gradient(s)) continue;
    const Tensor dw = in_any_order(p.w, [&](EmulatedMachine& m, const Tensor& out) {
      few::filter_gradient(m, Precision::kBf16, s, p.stored_x.bf16(), p.stored_dy.bf16(), out.f32());
    });
    EXPECT_TRUE(expect_sums(dw, p.want.dw)) << "dw";
  }
}

TEST(FewChannels, Fp32SumsAreThoseOfFloats) {
  const ConvShape s = kCases[2];
  const Tensor x = random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1),
               w = random_tensor({s.K, s.R, s.S, s.C}, Device::kCpu, 2),
               dy = random_tensor({s.N, s.P(), s.Q(), s.K}, Device::kCpu, 3);
  const ConvReference want = conv_reference(s, false, x, w, dy);
  EmulatedMachine machine;
  const Tensor y(dy.shape()), dw(w.shape());
  few::forward(machine, Precision::kFp32, s, x.f32(), w.f32(), {}, y.f32());
  few::filter_gradient(machine, Precision::kFp32, s, x.f32(), dy.f32(), dw.f32());
  EXPECT_TRUE(expect_sums(y, want.y));
  EXPECT_TRUE(expect_sums(dw, want.dw));
}

TEST(FewChannels, EpilogueInVectorsAndOneByOne) {
  for (const int k : {36, 37}) {
    ConvShape s = kCases[3];
    s.K = k;
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    const Tensor bias = random_tensor({k}, Device::kCpu, 4),
                 y = random_tensor(p.dy.shape(), Device::kCpu, 5);  // the residual is y itself
    Sums want = p.want.y;
    for (size_t i = 0; i < want.value.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i);
      want.add(at, bias.f32()[at % k]);
      want.add(at, y.f32()[i]);
      if (want.value[i] < 0) want.value[i] *= 0.1;
    }
    EmulatedMachine machine;
    few::forward(machine, Precision::kTf32, s, p.x.f32(), p.w.f32(),
                 {bias.f32(), y.f32(), Activation::leaky(0.1f)}, y.f32());
    EXPECT_TRUE(expect_sums(y, want));
  }
}

TEST(FewChannels, MomentsOfTheResults) {
  for (const ConvShape& s : cases()) {
    if (!few::takes_moments(s)) continue;
    SCOPED_TRACE(describe(s));
    const Problem p(s);
    const ReferenceKernels reference;
    const Tensor plain(p.dy.shape()), want({2, s.K}), moments({2, s.K});
    EmulatedMachine machine;
    few::forward(machine, Precision::kBf16, s, p.x.f32(), p.w.f32(), {}, plain.f32());
    kernels::batch_norm_statistics(Device::kCpu, plain.elements() / s.K, s.K, plain.f32(), want.f32(),
                                   want.f32() + s.K);
    const Tensor floats = in_any_order(p.dy, [&](EmulatedMachine& m, const Tensor& out) {
      few::forward_with_moments(m, Precision::kBf16, s, p.x.f32(), p.w.f32(), out.f32(), moments.f32());
    });
    EXPECT_EQ(floats.to_vector(), plain.to_vector());
    EXPECT_TRUE(expect_close(moments, want, {1e-5, 1e-1}));  // sums in another order
    const Tensor stored = in_any_order(p.stored_dy, [&](EmulatedMachine& m, const Tensor& out) {
      few::forward_with_moments(m, Precision::kBf16, s, p.stored_x.bf16(), p.stored_w.bf16(), out.bf16(),
                                moments.f32());
    });
    EXPECT_TRUE(expect_close(stored, plain, {kBf16Relative, 1e-2}));
    EXPECT_TRUE(expect_close(moments, want, {1e-5, 1e-1}));
  }
}

TEST(FewChannels, WhatLiesBesideAWindowDoesNotCount) {
  // An infinite pixel in the first column: windows that do not hold it stay finite, though words do.
  const ConvShape s = kCases[0];
  const Problem p(s);
  const Tensor x = p.stored_x.clone();
  for (int c = 0; c < s.C; ++c)
    x.bf16()[5 * s.W * s.C + 8 * s.C + c] = std::numeric_limits<float>::infinity();
  EmulatedMachine machine;
  const Tensor y(p.stored_dy.shape(), Device::kCpu, DType::kBF16);
  few::forward(machine, Precision::kBf16, s, x.bf16(), p.stored_w.bf16(), {}, y.bf16());
  int64_t touched = 0;
  for (int i = 0; i < s.P(); ++i)
    for (int j = 0; j < s.Q(); ++j) {
      const int top = i * s.stride - s.pad.top, left = j * s.stride - s.pad.left;
      const bool holds = top <= 5 && 5 < top + s.R && left <= 8 && 8 < left + s.S;
      touched += holds;
      for (int k = 0; k < s.K; ++k)
        EXPECT_EQ(std::isfinite(float(y.bf16()[(i * s.Q() + j) * s.K + k])), !holds) << i << ' ' << j;
    }
  EXPECT_GT(touched, 0);
}

TEST(FewChannels, LeaveOtherProblemsToTheTiles) {
  EXPECT_FALSE(few::takes({1, 9, 9, 5, 8, 3, 3, 1, {}}));
  EXPECT_FALSE(few::takes({1, 19, 19, 3, 8, 9, 3, 1, {}}));
  EXPECT_FALSE(few::takes({1, 9, 9, 3, 8, 3, 3, 3, {}}));
  EXPECT_FALSE(few::takes_moments({1, 9, 9, 3, 6, 3, 3, 1, {}}));
  EXPECT_FALSE(few::takes_gradient({1, 9, 9, 3, 6, 3, 3, 1, {}}));
}

}  // namespace
}  // namespace espalier::test
