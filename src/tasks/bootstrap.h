#pragma once

#include <functional>
#include <span>
#include <utility>

namespace espalier {

/// The 95 % interval of a statistic of a set of pictures, by the percentile bootstrap (Efron, 1979): the
/// statistic of many sets of as many pictures, drawn with replacement from a fixed seed, each given as how
/// often every picture is in it. NaN, where the statistic is not defined, is left out. The interval includes
/// `value`, the statistic of the set itself.
std::pair<double, double> bootstrap_interval(
    int pictures, double value, const std::function<double(std::span<const int> counts)>& statistic);

}  // namespace espalier
