#include "kernels/label_map.h"

#include <algorithm>

#include "kernels/label_map_cuda.h"
#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

/// One item is one pixel of the file.
struct LabelMap {
  LabelMapProblem p;
  uint8_t* map;
  ESPALIER_HD float logit(const BetweenPixels& row, int column, int k) const {
    const float above = p.logits[(int64_t{row.low} * p.W + column) * p.K + k],
                below = p.logits[(int64_t{row.high} * p.W + column) * p.K + k];
    return above + row.share * (below - above);
  }
  ESPALIER_HD void operator()(int64_t i) const {
    const BetweenPixels row = p.rows[i / p.width], column = p.columns[i % p.width];
    int best = 0;
    float most = 0;
    for (int k = 0; k < p.K; ++k) {
      const float left = logit(row, column.low, k), right = logit(row, column.high, k);
      const float v = left + column.share * (right - left);
      if (k == 0 || v > most) {
        most = v;
        best = k;
      }
    }
    map[i] = static_cast<uint8_t>(p.K == 1 ? most > 0 : best);
  }
};

}  // namespace

void label_map(Device device, const LabelMapProblem& p, uint8_t* map) {
  for_each(device, int64_t{p.width} * p.height, LabelMap{p, map}, 16 * p.K);
}

void count_label_pairs(Device device, int64_t n, int classes, const uint8_t* labels,
                       const uint8_t* predictions, int64_t* counts) {
  if (device == Device::kCuda) return cuda::count_label_pairs(n, classes, labels, predictions, counts);
  std::fill(counts, counts + int64_t{classes} * 256, 0);
  for (int64_t i = 0; i < n; ++i) ++counts[predictions[i] * 256 + labels[i]];
}

}  // namespace espalier::kernels
