#include "kernels/sketch.h"

#include <limits>

#include "base/random.h"
#include "kernels/bf16.h"
#include "support/bf16.h"
#include "support/device_test.h"
#include "tensor/tensor.h"

namespace espalier {
namespace {

using kernels::compare;
using kernels::Likeness;
using kernels::sketch;
using kernels::Sketch;

std::vector<float> numbers(int64_t n) {
  Random random(5, Purpose::kTest);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(random.normal());
  return x;
}

class SketchTest : public test::DeviceTest {
 protected:
  static Sketch of(const std::vector<float>& x) {
    const auto n = static_cast<int64_t>(x.size());
    const Tensor t = Tensor::from(x, {static_cast<int>(n)}).to(GetParam());
    return sketch(GetParam(), n, t.f32());
  }
};

TEST_P(SketchTest, RoundingIsAlike) {
  for (const int64_t n : {1, 37, Sketch::kBuckets, 3 * Sketch::kBuckets + 11}) {
    const std::vector<float> x = numbers(n);
    std::vector<float> rounded;
    for (const float v : x) rounded.push_back(Bf16(v));
    EXPECT_EQ(compare(of(x), of(x)), Likeness::kAlike) << n;
    EXPECT_EQ(compare(of(rounded), of(x)), Likeness::kAlike) << n;
  }
}

TEST_P(SketchTest, OneWrongElementShows) {
  const int64_t n = 3 * Sketch::kBuckets + 11;
  const std::vector<float> x = numbers(n);
  const Sketch want = of(x);
  for (const int64_t at : {int64_t{0}, int64_t{70000}, n - 1}) {
    std::vector<float> wrong = x;
    wrong[static_cast<size_t>(at)] += 1;
    EXPECT_EQ(compare(of(wrong), want), Likeness::kDifferent) << at;
    wrong[static_cast<size_t>(at)] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(compare(of(wrong), want), Likeness::kDifferent) << at;
  }
  std::vector<float> swapped = x;  // in one bucket
  std::swap(swapped[3], swapped[3 + Sketch::kBuckets]);
  EXPECT_EQ(compare(of(swapped), want), Likeness::kDifferent);
  EXPECT_EQ(compare(of(std::vector<float>(x.size())), want), Likeness::kDifferent);
  EXPECT_EQ(compare(of(numbers(n - 1)), want), Likeness::kDifferent);
}

TEST_P(SketchTest, WhatIsNotFiniteOrNothingTellsNothing) {
  std::vector<float> x = numbers(100);
  x[7] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(compare(of(numbers(100)), of(x)), Likeness::kUnknown);
  EXPECT_EQ(compare(of({}), of({})), Likeness::kUnknown);
  std::vector<float> zeros(9), tiny(9, 1e-24f), other(9, 3e-24f);
  EXPECT_EQ(compare(of(zeros), of(zeros)), Likeness::kUnknown);
  EXPECT_EQ(compare(of(other), of(tiny)), Likeness::kUnknown);  // whose squares are zeros
  zeros[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(compare(of(zeros), of(tiny)), Likeness::kDifferent);
}

TEST_P(SketchTest, Bf16IsReadAsItLies) {
  const std::vector<float> x = numbers(500);
  std::vector<float> rounded;
  for (const float v : x) rounded.push_back(Bf16(v));
  const Tensor stored = test::as_bf16(Tensor::from(x, {500}).to(GetParam()));
  const Sketch got = sketch(GetParam(), 500, stored.bf16()), want = of(rounded);
  EXPECT_EQ(got.sums, want.sums);
  EXPECT_EQ(got.squares, want.squares);
}

ESPALIER_TEST_ON_EVERY_DEVICE(SketchTest);

}  // namespace
}  // namespace espalier
