// The GPU's loop for the filter gradient of few filters, run in the emulator, against the formula in double.

#include <gtest/gtest.h>

#include "kernels/few_filters_gradient.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "support/bf16.h"
#include "support/emulated_machine.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using kernels::ConvShape;
using kernels::Precision;
namespace few = kernels::few_filters;

constexpr Schedule kSchedules[] = {Schedule::kForwardLate, Schedule::kBackwardEarly};

constexpr ConvShape kCases[] = {
    {2, 9, 130, 64, 2, 3, 3, 1, {1, 1, 1, 1}},   // a segmentation's last layer: two segments of a row
    {1, 67, 256, 8, 1, 3, 3, 1, {1, 1, 1, 1}},   // whole segments, two of a part with a tail
    {1, 170, 300, 8, 2, 3, 3, 1, {1, 1, 1, 1}},  // several segments of a part, as many as there are stages
    {1, 5, 129, 72, 7, 3, 3, 1, {1, 1, 1, 1}},   // most filters, channels of two groups with a tail
    {2, 6, 40, 24, 3, 1, 1, 1, {}},              // pointwise, one tile of columns
    {1, 7, 33, 16, 7, 1, 1, 1, {}},              // the same with most values
    {1, 8, 131, 16, 1, 7, 7, 1, {3, 3, 3, 3}},   // the largest window
    {2, 6, 9, 40, 3, 2, 4, 1, {4, 5, 3, 6}},     // padding wider than the filter
    {1, 9, 12, 16, 5, 3, 3, 1, {0, 0, 2, 1}},    // padding at the ends only
    {1, 6, 137, 8, 4, 5, 3, 1, {0, 0, 0, 0}},    // no padding
    {1, 4, 140, 32, 6, 2, 5, 1, {1, 2, 0, 2}},   // even extents
};

/// Numbers that bf16 holds, so that all arithmetics multiply them without rounding.
struct Problem {
  Tensor stored_x, stored_dy, x, dy, w;
  Sums want;
  explicit Problem(const ConvShape& s)
      : stored_x(as_bf16(random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1))),
        stored_dy(as_bf16(random_tensor({s.N, s.P(), s.Q(), s.K}, Device::kCpu, 3))),
        x(as_f32(stored_x)),
        dy(as_f32(stored_dy)),
        w(Tensor::zeros({s.K, s.R, s.S, s.C})),
        want(conv_reference(s, false, x, w, dy).dw) {}
};

std::vector<ConvShape> cases() {
  std::vector<ConvShape> all(std::begin(kCases), std::end(kCases));
  for (const ConvShape& s : kConvCases)
    if (few::takes<Bf16>(s)) all.push_back(s);
  return all;
}

TEST(FewFilters, MatchTheFormulaInEveryPrecision) {
  for (const ConvShape& s : cases()) {
    SCOPED_TRACE(describe(s));
    ASSERT_TRUE(few::takes<float>(s));
    const Problem p(s);
    for (const Precision precision : {Precision::kFp32, Precision::kTf32, Precision::kBf16}) {
      SCOPED_TRACE(static_cast<int>(precision));
      EmulatedMachine machine;
      const Tensor dw(p.w.shape());
      few::filter_gradient(machine, precision, s, p.x.f32(), p.dy.f32(), dw.f32());
      EXPECT_TRUE(expect_sums(dw, p.want));
    }
  }
}

TEST(FewFilters, MatchTheFormulaStoredAsBf16) {
  for (const ConvShape& s : cases()) {
    SCOPED_TRACE(describe(s));
    ASSERT_TRUE(few::takes<Bf16>(s));
    const Problem p(s);
    Tensor first;
    for (const Schedule schedule : kSchedules) {
      EmulatedMachine machine{.schedule = schedule};
      const Tensor dw(p.w.shape());
      few::filter_gradient(machine, Precision::kBf16, s, p.stored_x.bf16(), p.stored_dy.bf16(), dw.f32());
      EXPECT_TRUE(expect_sums(dw, p.want));
      if (!first.defined()) first = dw;
      EXPECT_EQ(dw.to_vector(), first.to_vector()) << "depends on the order of threads";
    }
  }
}

TEST(FewFilters, LeaveOtherProblemsToTheTiles) {
  EXPECT_FALSE(few::takes<Bf16>({1, 9, 9, 12, 2, 3, 3, 1, {}}));
  EXPECT_FALSE(few::takes<Bf16>({1, 9, 9, 16, 8, 3, 3, 1, {}}));
  EXPECT_FALSE(few::takes<Bf16>({1, 9, 9, 16, 2, 3, 3, 2, {}}));
  EXPECT_FALSE(few::takes<Bf16>({1, 9, 9, 16, 3, 5, 5, 1, {}}));
  EXPECT_TRUE(few::takes<float>({1, 9, 9, 12, 2, 3, 3, 1, {}}));
}

}  // namespace
}  // namespace espalier::test
