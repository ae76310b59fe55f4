// On a GPU: every candidate of the dense convolution in every precision, against the formula in double.
// Inputs are numbers that bf16 holds, so that one tolerance serves all precisions.

#include <gtest/gtest.h>

#include "kernels/conv2d.h"
#include "kernels/precision.h"
#include "kernels/warp.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "support/bf16.h"
#include "support/device_test.h"
#include "support/expect_close.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"
#ifdef ESPALIER_HAS_CUDA
#include <thread>

#include "kernels/launch_graph.h"
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

/// forward, backward_x, backward_w
void run_pass(const ConvShape& s, int pass, const Tensor& x, const Tensor& w, const Tensor& dy,
              const Tensor& out) {
  const Device device = x.device();
  if (pass == 0)
    kernels::conv2d_forward(device, s, x.f32(), w.f32(), {}, out.f32());
  else if (pass == 1)
    kernels::conv2d_backward_x(device, s, dy.f32(), w.f32(), out.f32());
  else
    kernels::conv2d_backward_w(device, s, x.f32(), dy.f32(), out.f32());
}

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

  void run(int pass, const Tensor& out) const { run_pass(s, pass, x, w, dy, out); }
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
ESPALIER_TEST_ON_A_GPU(Conv2dCandidatesTest);

void expect_each_matches_and_repeats(Device device) {
  for (const char* candidate :
       {"few-channels", "few-filters", "large", "medium", "narrow", "small", "cudnn", "cublaslt"}) {
    kernels::cuda::force_candidate(candidate);
    for (const ConvShape& s : kConvCases) {
      const Problem p(s, device);
      for (const Precision precision : {Precision::kFp32, Precision::kTf32, Precision::kBf16}) {
        SCOPED_TRACE(str(candidate, ' ', describe(s), " precision ", static_cast<int>(precision)));
        const In chosen(precision);
        for (int pass = 0; pass < 3; ++pass) {
          const Tensor out(p.shape(pass), device), again(p.shape(pass), device);
          if (!kernels::cuda::forced_ran([&] { p.run(pass, out); })) continue;
          EXPECT_TRUE(expect_sums(out, p.wanted(pass))) << "pass " << pass;
          p.run(pass, again);
          EXPECT_EQ(again.to_vector(), out.to_vector()) << "pass " << pass;
        }
      }
    }
  }
}

TEST_P(Conv2dCandidatesTest, EachMatchesTheFormulaAndRepeats) { expect_each_matches_and_repeats(GetParam()); }

TEST_P(Conv2dCandidatesTest, EachMatchesTheFormulaOnAConsumerCard) {
  const ConsumerCard card;
  expect_each_matches_and_repeats(GetParam());
}

// Widths and depths of the networks' inner layers, odd pictures, sums in one part and in several.
constexpr ConvShape kDeepCases[] = {{2, 17, 19, 64, 128, 3, 3, 1, {1, 1, 1, 1}},
                                    {1, 33, 31, 96, 24, 1, 1, 1, {}},
                                    {2, 7, 7, 960, 160, 1, 1, 1, {}},
                                    {1, 16, 15, 512, 256, 3, 3, 1, {1, 1, 1, 1}},
                                    {3, 40, 40, 64, 64, 3, 3, 1, {1, 1, 1, 1}},
                                    {2, 37, 128, 128, 72, 3, 3, 1, {1, 1, 1, 1}},
                                    {1, 21, 20, 48, 72, 3, 3, 2, {1, 1, 1, 1}}};

/// What a candidate computes of images stored as bf16; empty where it has no code.
struct StoredProblem {
  ConvShape s;
  Tensor x, w, dy, bias, residual;
  explicit StoredProblem(const ConvShape& s)
      : s(s),
        x(as_bf16(random_tensor({s.N, s.H, s.W, s.C}, Device::kCuda, 1))),
        w(short_tensor({s.K, s.R, s.S, s.C}, Device::kCuda, 2)),
        dy(as_bf16(random_tensor({s.N, s.P(), s.Q(), s.K}, Device::kCuda, 3))),
        bias(random_tensor({s.K}, Device::kCuda, 4)),
        residual(as_bf16(random_tensor(dy.shape(), Device::kCuda, 5))) {}

  Tensor run(int pass, const char* candidate) const {
    kernels::cuda::force_candidate(candidate);
    Tensor out(pass == 0   ? dy.shape()
               : pass == 1 ? x.shape()
                           : w.shape(),
               Device::kCuda, pass == 2 ? DType::kF32 : DType::kBF16);
    const kernels::EpilogueOf<Bf16> e{bias.f32(), residual.bf16(), Activation::leaky(0.1f)};
    const bool ran = kernels::cuda::forced_ran([&] {
      if (pass == 0)
        kernels::conv2d_forward(Device::kCuda, s, x.bf16(), w.f32(), e, out.bf16());
      else if (pass == 1)
        kernels::conv2d_backward_x(Device::kCuda, s, dy.bf16(), w.f32(), out.bf16());
      else
        kernels::conv2d_backward_w(Device::kCuda, s, x.bf16(), dy.bf16(), out.f32());
    });
    return ran ? out : Tensor();
  }
};

TEST_P(Conv2dCandidatesTest, ThoseOfStoredBf16AgreeAndRepeat) {
  const In precision(Precision::kBf16);
  int ran = 0;
  for (const ConvShape& s : kDeepCases) {
    const StoredProblem p(s);
    for (int pass = 0; pass < 3; ++pass) {
      const Tensor want = p.run(pass, "small");  // held to the formula above, and in the emulator
      ASSERT_TRUE(want.defined());
      for (const char* candidate : {"large", "group-64", "group-128", "group-256", "group-64x256",
                                    "group-128x128", "group-taps", "cudnn", "cublaslt"}) {
        SCOPED_TRACE(str(candidate, ' ', describe(s), " pass ", pass));
        const Tensor out = p.run(pass, candidate);
        if (!out.defined()) continue;
        ++ran;
        // Sums of thousands of terms in another order. A library rounds them to bf16, filters' gradients too,
        // and before bias and residual are added, which may leave little of a large sum.
        const bool library = candidate[0] == 'c';
        EXPECT_TRUE(expect_close(out, want, {kBf16Relative, library && pass == 0 ? 50.0 : 1.0}));
        EXPECT_EQ(p.run(pass, candidate).to_vector(), out.to_vector());
      }
    }
  }
  EXPECT_GT(ran, 0);
}

/// As a training does whose first step was another thread's.
TEST_P(Conv2dCandidatesTest, LibrariesAreRecordedInAThreadThatNeverCalledThem) {
  const In precision(Precision::kFp32);
  const Problem p({2, 5, 6, 8, 12, 1, 1, 1, {}}, GetParam());
  const Tensor out(p.shape(0), GetParam());
  for (const char* candidate : {"small", "cudnn", "cublaslt"}) {
    kernels::cuda::force_candidate(candidate);
    kernels::LaunchGraph launches;
    const auto work = [&] { p.run(0, out); };
    if (!kernels::cuda::forced_ran([&] { launches.run(work); })) continue;
    std::thread([&] { launches.run(work); }).join();
    EXPECT_TRUE(launches.recorded()) << candidate;
    EXPECT_TRUE(expect_sums(out, p.wanted(0))) << candidate;
  }
}

TEST_P(Conv2dCandidatesTest, FewFiltersOfStoredBf16AgreeAndRepeat) {
  const In precision(Precision::kBf16);
  for (const ConvShape& s :
       {ConvShape{2, 40, 300, 64, 2, 3, 3, 1, {1, 1, 1, 1}},
        ConvShape{1, 33, 65, 72, 7, 3, 3, 1, {1, 1, 1, 1}}, ConvShape{3, 20, 31, 24, 5, 1, 1, 1, {}}}) {
    SCOPED_TRACE(describe(s));
    const StoredProblem p(s);
    const Tensor want = p.run(2, "small"), out = p.run(2, "few-filters");
    ASSERT_TRUE(want.defined() && out.defined());
    EXPECT_TRUE(expect_close(out, want, {kBf16Relative, 1.0}));
    EXPECT_EQ(p.run(2, "few-filters").to_vector(), out.to_vector());
  }
}

/// What pruning to any width leaves of a detector's layers: a candidate against the hand-written loop.
void expect_as_the_loop(const char* candidate) {
  const In chosen(Precision::kTf32);
  for (const ConvShape& s :
       {ConvShape{8, 19, 19, 461, 1024, 3, 3, 1, {1, 1, 1, 1}},
        ConvShape{4, 19, 19, 512, 922, 3, 3, 1, {1, 1, 1, 1}}, ConvShape{8, 19, 19, 922, 512, 1, 1, 1, {}},
        ConvShape{4, 38, 38, 717, 103, 1, 1, 1, {}}, ConvShape{8, 76, 76, 51, 230, 3, 3, 1, {1, 1, 1, 1}}}) {
    SCOPED_TRACE(str(candidate, ' ', describe(s)));
    const Tensor x = short_numbers({s.N, s.H, s.W, s.C}, Device::kCuda, 1),
                 w = short_numbers({s.K, s.R, s.S, s.C}, Device::kCuda, 2),
                 dy = short_numbers({s.N, s.P(), s.Q(), s.K}, Device::kCuda, 3);
    const Tensor outs[] = {dy, x, w};
    for (int pass = 0; pass < 3; ++pass) {
      const auto made = [&](const char* by) {
        kernels::cuda::force_candidate(by);
        const Tensor out(outs[pass].shape(), Device::kCuda);
        const bool ran = kernels::cuda::forced_ran([&] { run_pass(s, pass, x, w, dy, out); });
        return ran ? out : Tensor();
      };
      const Tensor got = made(candidate);
      if (!got.defined()) continue;
      Tensor want;
      for (const char* loop : {"small", "medium", "large", "narrow"})
        if (!want.defined()) want = made(loop);
      ASSERT_TRUE(want.defined());
      EXPECT_TRUE(expect_close(got, want, {1e-4, 100.0})) << "pass " << pass;
    }
  }
}
TEST_P(Conv2dCandidatesTest, CudnnTakesOddWidths) { expect_as_the_loop("cudnn"); }
TEST_P(Conv2dCandidatesTest, CublasLtTakesOddWidths) { expect_as_the_loop("cublaslt"); }

#endif

}  // namespace
}  // namespace espalier::test
