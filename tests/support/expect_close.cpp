#include "support/expect_close.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace espalier::test {

namespace {

/// |got - want| / limit, infinite where that is no number.
double excess(double got, double want, Tolerance tolerance) {
  const double error = std::abs(got - want);
  const double limit = tolerance.relative * std::max(std::abs(want), tolerance.floor);
  if (error <= limit) return limit > 0 ? error / limit : 0;
  return error / limit > 1 ? error / limit : std::numeric_limits<double>::infinity();
}

}  // namespace

::testing::AssertionResult expect_close(std::span<const float> got, std::span<const double> want,
                                        Tolerance tolerance) {
  if (got.size() != want.size())
    return ::testing::AssertionFailure() << got.size() << " values, " << want.size() << " expected";
  if (got.empty()) return ::testing::AssertionFailure() << "untrusted: nothing was compared";
  size_t worst = 0, wrong = 0, zeros = 0, same = 0;
  double most = -1;
  for (size_t i = 0; i < got.size(); ++i) {
    const double times = excess(got[i], want[i], tolerance);
    if (times > most) most = times, worst = i;
    wrong += !(times <= 1);
    zeros += want[i] == 0;
    same += want[i] == want[0];
  }
  if (wrong > 0)
    return ::testing::AssertionFailure()
           << "element " << worst << " of " << got.size() << " is " << got[worst] << ", expected "
           << want[worst] << " (" << most << " times the tolerance " << tolerance.relative << "); " << wrong
           << " are wrong";
  if (got.size() > 8 && (zeros * 10 > got.size() * 9 || same * 10 > got.size() * 9))
    return ::testing::AssertionFailure() << "untrusted: " << zeros << " of " << got.size()
                                         << " expected values are zero, " << same << " equal the first";
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult expect_close(const Tensor& got, const Tensor& want, Tolerance tolerance) {
  if (got.shape() != want.shape())
    return ::testing::AssertionFailure() << "the shape is " << got.shape() << ", expected " << want.shape();
  const std::vector<float> a = got.to_vector(), b = want.to_vector();
  const std::vector<double> wanted(b.begin(), b.end());
  return expect_close(a, wanted, tolerance);
}

::testing::AssertionResult expect_sums(const Tensor& got, const Sums& want) {
  std::vector<float> scaled = got.to_vector();
  if (scaled.size() != want.value.size())
    return ::testing::AssertionFailure() << scaled.size() << " values, " << want.value.size() << " expected";
  std::vector<double> expected(scaled.size());
  for (size_t i = 0; i < scaled.size(); ++i) {
    const double magnitude = want.magnitude[i] > 0 ? want.magnitude[i] : 1;
    scaled[i] = static_cast<float>(scaled[i] / magnitude);
    expected[i] = want.value[i] / magnitude;
  }
  return expect_close(scaled, expected, sum_tolerance(want.terms));
}

}  // namespace espalier::test
