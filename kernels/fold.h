#pragma once
// The last stages of sums that were split in parts, in doubles, always in the same order. Only .cu files
// include this.

#include "kernels/launch.h"

namespace espalier::kernels {

/// out[array, k] = in[array, k] + in[array, k + sums] + ...; one item is one k of one array.
struct FoldParts {
  const double* in;
  int64_t count;
  int64_t sums;
  double* out;
  ESPALIER_HD void operator()(int64_t item) const {
    const double* parts = in + item / sums * count;
    double sum = 0;
    for (int64_t i = item % sums; i < count; i += sums) sum += parts[i];
    out[item] = sum;
  }
};

/// Doubles of working memory that fold() needs for so many arrays.
constexpr int64_t fold_work(int arrays) { return int64_t{arrays} * (1024 + 32 + 1); }

/// Where the sum of each array [arrays, count] lies on the device afterwards, within `work`. A GPU takes one
/// stage more: a single thread adds slowly.
inline const double* fold(Device device, int arrays, int64_t count, const double* parts, double* work) {
  const auto stage = [&](int64_t sums) {
    for_each(device, arrays * sums, FoldParts{parts, count, sums, work}, count / sums + 1);
    parts = work;
    work += arrays * sums;
    count = sums;
  };
  stage(1024);
  if (device == Device::kCuda) stage(32);
  stage(1);
  return parts;
}

}  // namespace espalier::kernels
