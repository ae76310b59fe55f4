// Shared bodies that sum over rows in parts, with channels that no fast path of a GPU takes, on every device
// against the CPU's fast paths.

#include <gtest/gtest.h>

#include "kernels/batch_norm.h"
#include "kernels/depthwise.h"
#include "kernels/normed_conv.h"
#include "support/device_test.h"
#include "support/expect_close.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct RowPartsTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(RowPartsTest);

constexpr Tolerance kSameSums{2e-5, 10.0};  // of thousands, in another order

/// One part; two, the second of one row; several with a tail.
constexpr int kRows[] = {256, 257, 3001};
constexpr int kChannels = 37;

TEST_P(RowPartsTest, Statistics) {
  for (const int rows : kRows) {
    SCOPED_TRACE(rows);
    const Tensor x = random_tensor({rows, kChannels}, Device::kCpu, 1), want({2, kChannels});
    const auto of = [rows](Device d, const Tensor& x, const Tensor& out) {
      kernels::batch_norm_statistics(d, rows, kChannels, x.f32(), out.f32(), out.f32() + kChannels);
    };
    of(Device::kCpu, x, want);
    const ReferenceKernels reference;
    const Tensor got({2, kChannels}, GetParam());
    of(GetParam(), x.to(GetParam()), got);
    EXPECT_TRUE(expect_close(got, want, {1e-5, 0.1}));
  }
}

TEST_P(RowPartsTest, SumsOfANormsGradient) {
  for (const int rows : kRows) {
    SCOPED_TRACE(rows);
    const Shape shape{rows, kChannels};
    const auto of = [&](Device d, const Tensor& dx, const Tensor& sums) {
      const Tensor x = random_tensor(shape, d, 1), y = random_tensor(shape, d, 2),
                   dy = random_tensor(shape, d, 3), norm = random_tensor({3, kChannels}, d, 4);
      const kernels::InputNorm n{norm.f32(), norm.f32() + kChannels, norm.f32() + 2 * kChannels,
                                 Activation::relu()};
      kernels::normalize_backward<float>(d, rows, kChannels, x.f32(), n, y.f32(), dy.f32(), dx.f32(),
                                         sums.f32(), nullptr);
    };
    const Tensor want_dx(shape), want({2, kChannels});
    of(Device::kCpu, want_dx, want);
    const ReferenceKernels reference;
    const Tensor dx(shape, GetParam()), sums({2, kChannels}, GetParam());
    of(GetParam(), dx, sums);
    EXPECT_TRUE(expect_close(sums, want, kSameSums));
    EXPECT_TRUE(expect_close(dx, want_dx, kElementwise));
  }
}

TEST_P(RowPartsTest, FiltersOfADepthwiseConvolution) {
  for (const kernels::ConvShape& s : {kernels::ConvShape{2, 8, 9, 37, 37, 3, 3, 1, {1, 1, 1, 1}},
                                      kernels::ConvShape{3, 23, 7, 37, 37, 3, 3, 2, {1, 1, 1, 1}}}) {
    SCOPED_TRACE(s.H);
    const auto of = [&](Device d, const Tensor& dw) {
      kernels::depthwise_backward_w(d, s, random_tensor({s.N, s.H, s.W, s.C}, d, 1).f32(),
                                    random_tensor({s.N, s.P(), s.Q(), s.C}, d, 2).f32(), dw.f32());
    };
    const Tensor want({s.R, s.S, s.C});
    of(Device::kCpu, want);
    const ReferenceKernels reference;
    const Tensor dw(want.shape(), GetParam());
    of(GetParam(), dw);
    EXPECT_TRUE(expect_close(dw, want, kSameSums));
  }
}

}  // namespace
}  // namespace espalier::test
