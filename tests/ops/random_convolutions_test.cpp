// Convolutions of drawn shapes on a GPU against the formula: what no list of shapes thinks of.
// ESPALIER_SHAPES draws more, ESPALIER_SHAPES_SEED others.

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "base/random.h"
#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/precision.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "support/bf16.h"
#include "support/device_test.h"
#include "support/expect_close.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using kernels::ConvShape;
using kernels::Precision;

int64_t from_environment(const char* name, int64_t otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atoll(value) : otherwise;
}

/// A shape whose products are few. Channels are often those that fast paths ask for.
ConvShape drawn(Random& random) {
  const auto any = [&](int low, int high) {
    return low + static_cast<int>(random.uniform(0, high - low + 1));
  };
  for (;;) {
    const auto channels = [&] { return any(0, 2) ? any(1, 70) : 8 * any(1, 16); };
    const int extents[] = {1, 1, 2, 3, 3, 3, 5};
    ConvShape s{any(1, 3),          any(1, 24), any(1, 24), channels(), channels(),
                extents[any(0, 6)], 1,          any(1, 3),  {}};
    s.S = any(0, 3) ? s.R : extents[any(0, 6)];
    if (any(0, 2)) s.pad = {any(0, s.R), any(0, s.S), any(0, s.R), any(0, s.S)};
    if (s.H + s.pad.top + s.pad.bottom < s.R || s.W + s.pad.left + s.pad.right < s.S) continue;
    if (int64_t{s.N} * s.P() * s.Q() * s.K * s.R * s.S * s.C < 600'000) return s;
  }
}

class RandomConvolutionsTest : public DeviceTest {
 protected:
  void TearDown() override { kernels::set_precision(before_); }

  /// Calls check(shape) for each of the drawn ones.
  template <class Check>
  static void for_each_shape(int64_t count, const Check& check) {
    Random random(static_cast<uint64_t>(from_environment("ESPALIER_SHAPES_SEED", 1)), Purpose::kTest);
    for (int64_t i = 0; i < from_environment("ESPALIER_SHAPES", count); ++i) {
      const ConvShape s = drawn(random);
      SCOPED_TRACE(describe(s));
      check(s);
      if (HasFailure()) return;
    }
  }

 private:
  Precision before_ = kernels::precision();
};
ESPALIER_TEST_ON_A_GPU(RandomConvolutionsTest);

/// f32 as a sum, bf16 as what it stores of one. Pixels that no product reaches, which may be most, are zero;
/// too few others prove nothing.
void compare(const Tensor& got, const Sums& want) {
  constexpr size_t kFew = 8;
  const std::vector<float> all = (got.dtype() == DType::kF32 ? got : as_f32(got)).to_vector();
  std::vector<float> reached;
  Sums sums(0, want.terms);
  for (size_t i = 0; i < all.size(); ++i) {
    if (want.magnitude[i] == 0) {
      ASSERT_EQ(all[i], 0.0f) << "element " << i;
      continue;
    }
    reached.push_back(all[i]);
    sums.value.push_back(want.value[i]);
    sums.magnitude.push_back(want.magnitude[i]);
  }
  if (reached.size() < kFew) return;
  if (got.dtype() == DType::kF32)
    EXPECT_TRUE(expect_sums(Tensor::from(reached, {static_cast<int>(reached.size())}), sums));
  else
    EXPECT_TRUE(expect_close(reached, sums.value, {kBf16Relative, 1.0}));
}

/// The tensors of one convolution's passes.
struct Passes {
  bool depthwise;
  ConvShape s;
  Device gpu;

  template <class T>
  void run(const T* x, const float* w, const T* dy, T* y, T* dx, float* dw) const {
    if (depthwise) {
      kernels::depthwise_forward(gpu, s, x, w, {}, y);
      kernels::depthwise_backward_x(gpu, s, dy, w, dx);
      kernels::depthwise_backward_w(gpu, s, x, dy, dw);
    } else {
      kernels::conv2d_forward(gpu, s, x, w, {}, y);
      kernels::conv2d_backward_x(gpu, s, dy, w, dx);
      kernels::conv2d_backward_w(gpu, s, x, dy, dw);
    }
  }

  void expect_the_formula() const {
    const Tensor x = short_tensor({s.N, s.H, s.W, s.C}, gpu, 1),
                 w = short_tensor(depthwise ? Shape{s.R, s.S, s.C} : Shape{s.K, s.R, s.S, s.C}, gpu, 2),
                 dy = short_tensor({s.N, s.P(), s.Q(), s.K}, gpu, 3);
    const ConvReference want = conv_reference(s, depthwise, x, w, dy);
    const auto expect = [&](const Tensor& y, const Tensor& dx, const Tensor& dw) {
      compare(y, want.y);
      compare(dx, want.dx);
      compare(dw, want.dw);
    };
    const Tensor y(dy.shape(), gpu), dx(x.shape(), gpu), dw(w.shape(), gpu);
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
      kernels::set_precision(precision);
      run(x.f32(), w.f32(), dy.f32(), y.f32(), dx.f32(), dw.f32());
      expect(y, dx, dw);
    }
    const Tensor stored_x = as_bf16(x), stored_dy = as_bf16(dy), stored_y = as_bf16(y),
                 stored_dx = as_bf16(dx);
    run(stored_x.bf16(), w.f32(), stored_dy.bf16(), stored_y.bf16(), stored_dx.bf16(), dw.f32());
    expect(stored_y, stored_dx, dw);
  }
};

TEST_P(RandomConvolutionsTest, Dense) {
  for_each_shape(12, [](const ConvShape& s) { Passes{false, s, GetParam()}.expect_the_formula(); });
}

TEST_P(RandomConvolutionsTest, Depthwise) {
  for_each_shape(24, [](ConvShape s) {
    s.K = s.C;
    Passes{true, s, GetParam()}.expect_the_formula();
  });
}

}  // namespace
}  // namespace espalier::test
