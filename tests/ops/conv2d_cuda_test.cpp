// On a GPU: every candidate of the dense convolution in every precision, against the formula in double.
// Inputs are numbers that bf16 holds, so that one tolerance serves all precisions.

#include <gtest/gtest.h>

#include "kernels/conv2d.h"
#include "kernels/precision.h"
#include "kernels/warp.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "support/device_test.h"
#include "support/random_tensor.h"
#ifdef ESPALIER_HAS_CUDA
#include "kernels/tuning_cuda.h"
#endif

namespace espalier::test {
namespace {

using kernels::ConvShape;
using kernels::Precision;

Tensor short_numbers(const Shape& shape, Device device, uint64_t seed) {
  std::vector<float> values = random_tensor(shape, Device::kCpu, seed).to_vector();
  for (float& v : values) v = kernels::warp::float_of(kernels::warp::bits_of(v) & 0xffff0000u);
  return Tensor::from(values, shape, device);
}

/// Sets the precision while it lives.
class In {
 public:
  explicit In(Precision precision) : before_(kernels::precision()) { kernels::set_precision(precision); }
  ~In() { kernels::set_precision(before_); }
  In(const In&) = delete;

 private:
  Precision before_;
};

struct Problem {
  ConvShape s;
  Tensor x, w, dy;
  ConvReference want;
  Problem(const ConvShape& s, Device device)
      : s(s),
        x(short_numbers({s.N, s.H, s.W, s.C}, device, 1)),
        w(short_numbers({s.K, s.R, s.S, s.C}, device, 2)),
        dy(short_numbers({s.N, s.P(), s.Q(), s.K}, device, 3)),
        want(conv_reference(s, false, x, w, dy)) {}

  /// forward, backward_x, backward_w
  void run(int pass, const Tensor& out) const {
    const Device device = x.device();
    if (pass == 0)
      kernels::conv2d_forward(device, s, x.f32(), w.f32(), {}, out.f32());
    else if (pass == 1)
      kernels::conv2d_backward_x(device, s, dy.f32(), w.f32(), out.f32());
    else
      kernels::conv2d_backward_w(device, s, x.f32(), dy.f32(), out.f32());
  }
  Shape shape(int pass) const { return pass == 0 ? dy.shape() : pass == 1 ? x.shape() : w.shape(); }
  const Sums& wanted(int pass) const { return pass == 0 ? want.y : pass == 1 ? want.dx : want.dw; }
};

struct Conv2dPrecisionTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(Conv2dPrecisionTest);

TEST_P(Conv2dPrecisionTest, ShortNumbersAreMultipliedExactly) {
  for (const ConvShape& s : kConvCases) {
    const Problem p(s, GetParam());
    for (const Precision precision : {Precision::kFp32, Precision::kTf32, Precision::kBf16}) {
      SCOPED_TRACE(str(describe(s), " precision ", static_cast<int>(precision)));
      const In chosen(precision);
      for (int pass = 0; pass < 3; ++pass) {
        const Tensor out(p.shape(pass), GetParam());
        p.run(pass, out);
        EXPECT_TRUE(expect_sums(out, p.wanted(pass))) << "pass " << pass;
      }
    }
  }
}

#ifdef ESPALIER_HAS_CUDA

struct Conv2dCandidatesTest : DeviceTest {
  void TearDown() override { kernels::cuda::force_candidate(nullptr); }
};
INSTANTIATE_TEST_SUITE_P(On, Conv2dCandidatesTest, ::testing::Values(Device::kCuda),
                         [](const auto& info) { return std::string(name(info.param)); });

TEST_P(Conv2dCandidatesTest, EachMatchesTheFormulaAndRepeats) {
  for (const char* candidate : {"large", "medium", "narrow", "small", "cudnn", "cublaslt"}) {
    kernels::cuda::force_candidate(candidate);
    for (const ConvShape& s : kConvCases) {
      const Problem p(s, GetParam());
      for (const Precision precision : {Precision::kFp32, Precision::kTf32, Precision::kBf16}) {
        SCOPED_TRACE(str(candidate, ' ', describe(s), " precision ", static_cast<int>(precision)));
        const In chosen(precision);
        for (int pass = 0; pass < 3; ++pass) {
          const Tensor out(p.shape(pass), GetParam()), again(p.shape(pass), GetParam());
          if (!kernels::cuda::forced_ran([&] { p.run(pass, out); })) continue;
          EXPECT_TRUE(expect_sums(out, p.wanted(pass))) << "pass " << pass;
          p.run(pass, again);
          EXPECT_EQ(again.to_vector(), out.to_vector()) << "pass " << pass;
        }
      }
    }
  }
}

#endif

}  // namespace
}  // namespace espalier::test
