#include "kernels/candidate_results.h"

#include "base/random.h"
#include "kernels/bf16.h"
#include "support/device_test.h"
#include "tensor/tensor.h"

namespace espalier {
namespace {

using kernels::Candidate;
using kernels::CandidateResults;
using kernels::Likeness;
using kernels::Output;

constexpr int kElements = 1000;

class CandidateResultsTest : public test::DeviceTest {
 protected:
  /// Writes `count` elements of `numbers`.
  static Candidate writes(const Tensor& to, int count, float factor = 1) {
    return {"writes", [=] {
              std::vector<float> x(static_cast<size_t>(count));
              Random random(5, Purpose::kTest);
              for (float& v : x) v = factor * static_cast<float>(random.normal());
              kernels::copy(GetParam(), to.f32(), Device::kCpu, x.data(), x.size() * sizeof(float));
              return true;
            }};
  }
  static Candidate adds_one(const Tensor& to) {
    return {"adds", [=] {
              std::vector<float> x = to.to_vector();
              for (float& v : x) v += 1;
              kernels::copy(GetParam(), to.f32(), Device::kCpu, x.data(), x.size() * sizeof(float));
              return true;
            }};
  }
  static Tensor empty() { return Tensor::zeros({kElements}).to(GetParam()); }
  static Output output(const Tensor& t, bool read = false) { return {t.f32(), t.elements(), false, read}; }
};

TEST_P(CandidateResultsTest, WhatIsNotWrittenShows) {
  const Tensor y = empty();
  const Output outputs[] = {output(y)};
  const CandidateResults results(GetParam(), outputs);
  const Candidate all = writes(y, kElements);
  EXPECT_EQ(results.compare(all, all), Likeness::kAlike);
  EXPECT_EQ(results.compare(all, writes(y, kElements - 1)), Likeness::kDifferent);
  EXPECT_EQ(results.compare(all, writes(y, 0)), Likeness::kDifferent);
  EXPECT_EQ(results.compare(all, writes(y, kElements, 1.5f)), Likeness::kDifferent);
}

TEST_P(CandidateResultsTest, EveryOutputCounts) {
  const Tensor y = empty(), moments = empty();
  const Output outputs[] = {output(y), output(moments)};
  const CandidateResults results(GetParam(), outputs);
  const auto both = [](const Candidate& a, const Candidate& b) {
    return Candidate{"both", [=] { return a.run() && b.run(); }};
  };
  const Candidate right = both(writes(y, kElements), writes(moments, kElements));
  EXPECT_EQ(results.compare(right, right), Likeness::kAlike);
  EXPECT_EQ(results.compare(right, both(writes(y, kElements), writes(moments, kElements, 2))),
            Likeness::kDifferent);
  EXPECT_EQ(results.compare(right, writes(y, kElements)), Likeness::kDifferent);
  const Candidate nothing = both(writes(y, kElements), writes(moments, kElements, 0));
  EXPECT_EQ(results.compare(nothing, nothing), Likeness::kUnknown);
}

/// Each begins with what was there, and so does what comes after the comparison.
TEST_P(CandidateResultsTest, WhatIsReadIsPutBack) {
  const Tensor y = Tensor::full({kElements}, 3.0f).to(GetParam());
  {
    const Output outputs[] = {output(y, true)};
    const CandidateResults results(GetParam(), outputs);
    EXPECT_EQ(results.compare(adds_one(y), adds_one(y)), Likeness::kAlike);
    EXPECT_EQ(results.compare(adds_one(y), {"nothing", [] { return true; }}), Likeness::kDifferent);
  }
  EXPECT_EQ(y.to_vector(), std::vector<float>(kElements, 3.0f));
}

TEST_P(CandidateResultsTest, OfBf16) {
  const Tensor y({kElements}, GetParam(), DType::kBF16);
  const Output outputs[] = {{y.bf16(), kElements, true}};
  const CandidateResults results(GetParam(), outputs);
  const auto fills = [&](int byte, size_t bytes) {
    return Candidate{"fills", [=] {
                       kernels::fill_bytes(GetParam(), y.bf16(), byte, bytes);
                       return true;
                     }};
  };
  constexpr size_t kBytes = kElements * sizeof(Bf16);
  EXPECT_EQ(results.compare(fills(0x3f, kBytes), fills(0x3f, kBytes)), Likeness::kAlike);
  EXPECT_EQ(results.compare(fills(0x3f, kBytes), fills(0x3f, kBytes - 2)), Likeness::kDifferent);
  EXPECT_EQ(results.compare(fills(0x3f, kBytes), fills(0x3e, kBytes)), Likeness::kDifferent);
}

ESPALIER_TEST_ON_EVERY_DEVICE(CandidateResultsTest);

}  // namespace
}  // namespace espalier
