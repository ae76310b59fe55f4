#include "kernels/loss_mean.h"

#include "kernels/cuda_scratch.h"
#include "kernels/fold.h"

namespace espalier::kernels {

namespace {

/// One item adds up every parts-th row: sums[item] of losses, sums[parts + item] of counts.
struct SumRows {
  int64_t rows, parts;
  const float* losses;
  RowCounts counts;
  double* sums;
  ESPALIER_HD void operator()(int64_t item) const {
    double loss = 0, count = 0;
    for (int64_t i = item; i < rows; i += parts) {
      loss += losses[i];
      if (!counts.labels || counts.labels[i] == counts.ignored_label) continue;
      count += counts.weights ? counts.weights[counts.labels[i]] : 1.0f;
    }
    sums[item] = loss;
    sums[parts + item] = count;
  }
};

/// One item in all.
struct Mean {
  const double* sums;  ///< of losses, of counts
  double added;
  float *loss, *factor;
  ESPALIER_HD void operator()(int64_t) const {
    const double count = sums[1] + added, share = count > 0 ? 1 / count : 0;
    *loss = static_cast<float>(sums[0] * share);
    *factor = static_cast<float>(share);
  }
};

}  // namespace

void loss_mean(Device device, int64_t rows, const float* losses, const RowCounts& counts, double added,
               float* loss, float* factor) {
  if (device == Device::kCpu) {
    double sums[2];
    SumRows{rows, 1, losses, counts, sums}(0);
    return Mean{sums, added, loss, factor}(0);
  }
  constexpr int64_t kMost = 8192;
  const int64_t parts = rows < kMost ? rows : kMost, doubles = 2 * parts + fold_work(2);
  double* sums = reinterpret_cast<double*>(cuda::scratch(cuda::ScratchUse::kSums, 2 * doubles));
  for_each(device, parts, SumRows{rows, parts, losses, counts, sums});
  for_each(device, 1, Mean{fold(device, 2, parts, sums, sums + 2 * parts), added, loss, factor});
}

}  // namespace espalier::kernels
