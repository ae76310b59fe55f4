#include "kernels/sketch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/bf16.h"
#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

/// One item is one bucket.
template <class T>
struct FillBucket {
  int64_t n;
  const T* x;
  float *sums, *squares;
  ESPALIER_HD void operator()(int64_t bucket) const {
    float sum = 0, square = 0;
    uint32_t bits = static_cast<uint32_t>(bucket) * 2654435761u;
    for (int64_t i = bucket; i < n; i += Sketch::kBuckets) {
      bits = bits * 1664525u + 1013904223u;
      const float v = x[i];
      sum += bits >> 31 ? v : -v;
      square += v * v;
    }
    sums[bucket] = sum;
    squares[bucket] = square;
  }
};

}  // namespace

template <class T>
Sketch sketch(Device device, int64_t n, const T* x) {
  const auto buckets = static_cast<size_t>(std::min<int64_t>(n, Sketch::kBuckets));
  Sketch s{n, std::vector<float>(buckets), std::vector<float>(buckets)};
  if (n == 0) return s;
  const size_t bytes = buckets * sizeof(float);
  auto* filled = static_cast<float*>(allocate(device, 2 * bytes));
  for_each(device, static_cast<int64_t>(buckets), FillBucket<T>{n, x, filled, filled + buckets},
           n / static_cast<int64_t>(buckets));
  copy(Device::kCpu, s.sums.data(), device, filled, bytes);
  copy(Device::kCpu, s.squares.data(), device, filled + buckets, bytes);
  release(device, filled, 2 * bytes);
  return s;
}
template Sketch sketch(Device, int64_t, const float*);
template Sketch sketch(Device, int64_t, const Bf16*);

Likeness compare(const Sketch& got, const Sketch& want) {
  constexpr double kTolerance = 0.05;
  if (got.elements != want.elements) return Likeness::kDifferent;
  double all = 0;
  for (const float square : want.squares) all += square;
  if (!std::isfinite(all)) return Likeness::kUnknown;
  const auto buckets = static_cast<double>(std::max<size_t>(want.squares.size(), 1));
  const double usual = std::sqrt(all / buckets);  // of a bucket
  const bool nothing = all < buckets * std::numeric_limits<float>::min();
  for (size_t b = 0; b < want.sums.size(); ++b) {
    if (nothing && std::isfinite(got.sums[b])) continue;
    const double off = std::abs(static_cast<double>(got.sums[b]) - want.sums[b]);
    if (!(off <= kTolerance * (std::sqrt(static_cast<double>(want.squares[b])) + usual)))
      return Likeness::kDifferent;
  }
  return nothing ? Likeness::kUnknown : Likeness::kAlike;
}

}  // namespace espalier::kernels
