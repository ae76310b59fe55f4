#include "support/expect_close.h"

#include <algorithm>
#include <cmath>

namespace espalier::test {

::testing::AssertionResult expect_close(std::span<const float> got, std::span<const double> want,
                                        Tolerance tolerance) {
  if (got.size() != want.size())
    return ::testing::AssertionFailure() << got.size() << " values, " << want.size() << " expected";
  size_t worst = 0, zeros = 0, same = 0;
  double worst_excess = -1;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want[i]);
    const double limit = tolerance.relative * std::max(std::abs(want[i]), tolerance.floor);
    const double excess = error / limit;
    if (!(excess <= worst_excess)) worst_excess = excess, worst = i;
    if (!(error <= limit) && std::isnan(excess)) {
      worst = i;
      break;
    }
    zeros += want[i] == 0;
    same += want[i] == want[0];
  }
  if (got.empty()) return ::testing::AssertionFailure() << "untrusted: nothing was compared";
  if (!(std::abs(got[worst] - want[worst]) <=
        tolerance.relative * std::max(std::abs(want[worst]), tolerance.floor)))
    return ::testing::AssertionFailure()
           << "element " << worst << " of " << got.size() << " is " << got[worst] << ", expected "
           << want[worst] << " (" << worst_excess << " times the tolerance " << tolerance.relative << ")";
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

}  // namespace espalier::test
