#include "tasks/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"

namespace espalier {

std::pair<double, double> bootstrap_interval(
    int pictures, double value, const std::function<double(std::span<const int> counts)>& statistic) {
  constexpr int kRounds = 400;
  std::vector<double> values;
  std::vector<int> counts(static_cast<size_t>(pictures));
  for (int round = 0; round < kRounds; ++round) {
    Random random(1, Purpose::kBootstrap, 0, static_cast<uint64_t>(round));
    std::fill(counts.begin(), counts.end(), 0);
    for (int i = 0; i < pictures; ++i) ++counts[random.below(pictures)];
    if (const double drawn = statistic(counts); !std::isnan(drawn)) values.push_back(drawn);
  }
  if (values.empty()) return {value, value};
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
  };
  return {std::min(value, at(0.025)), std::max(value, at(0.975))};
}

}  // namespace espalier
