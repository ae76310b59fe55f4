#include "tasks/nms.h"

#include <algorithm>
#include <functional>

#include "kernels/suppress.h"

namespace espalier {

namespace {

using kernels::index_of_key;
using kernels::rank_key;

/// The boxes of one class by falling score, side by side so that one is compared with many at once.
struct Row {
  std::vector<float> x0, y0, x1, y1, area;
  std::vector<int> gone;

  void take(const Candidates& c, const std::vector<uint64_t>& keys, float plus) {
    for (std::vector<float>* v : {&x0, &y0, &x1, &y1, &area}) v->resize(keys.size());
    gone.assign(keys.size(), 0);
    for (size_t i = 0; i < keys.size(); ++i) {
      const int64_t at = index_of_key(keys[i]);
      x0[i] = c.x0[at];
      y0[i] = c.y0[at];
      x1[i] = c.x1[at];
      y1[i] = c.y1[at];
      area[i] = (x1[i] - x0[i] + plus) * (y1[i] - y0[i] + plus);
    }
  }

  /// Marks those after i that overlap with it.
  void suppress_by(size_t i, float overlap, float plus) {
    const float left = x0[i], top = y0[i], right = x1[i] + plus, bottom = y1[i] + plus, mine = area[i];
    const float *l = x0.data(), *t = y0.data(), *r = x1.data(), *b = y1.data(), *a = area.data();
    int* out = gone.data();
    const size_t count = gone.size();
#pragma omp simd
    for (size_t j = i + 1; j < count; ++j) {
      const float w = std::max(0.0f, std::min(right, r[j] + plus) - std::max(left, l[j]));
      const float h = std::max(0.0f, std::min(bottom, b[j] + plus) - std::max(top, t[j]));
      const float both = w * h;
      out[j] |= both > overlap * (mine + a[j] - both);
    }
  }
};

}  // namespace

std::vector<ObjectBox> suppress(const Candidates& candidates, const NmsOptions& o) {
  const float plus = o.inclusive ? 1.0f : 0.0f;
  std::vector<ObjectBox> kept;
  std::vector<uint64_t> keys;
  Row row;
  for (int k = 0; k < candidates.classes; ++k) {
    keys.clear();
    for (int64_t i = 0; i < candidates.size(); ++i)
      if (const float score = candidates.scores[i * candidates.classes + k]; score > o.score_threshold)
        keys.push_back(rank_key(score, i));
    if (static_cast<int64_t>(keys.size()) > o.top_k) {
      std::nth_element(keys.begin(), keys.begin() + o.top_k, keys.end(), std::greater<>());
      keys.resize(static_cast<size_t>(o.top_k));
    }
    std::sort(keys.begin(), keys.end(), std::greater<>());
    row.take(candidates, keys, plus);
    // No more than the best `keep` of a class can be among the best `keep` of all.
    int found = 0;
    for (size_t i = 0; i < keys.size() && found < o.keep; ++i) {
      if (row.gone[i]) continue;
      ++found;
      kept.push_back({row.x0[i], row.y0[i], row.x1[i], row.y1[i], k,
                      candidates.scores[index_of_key(keys[i]) * candidates.classes + k]});
      row.suppress_by(i, o.overlap, plus);
    }
  }
  keep_best(kept, o.keep);
  return kept;
}

void keep_best(std::vector<ObjectBox>& boxes, int most) {
  std::stable_sort(boxes.begin(), boxes.end(),
                   [](const ObjectBox& a, const ObjectBox& b) { return a.score > b.score; });
  if (static_cast<int>(boxes.size()) > most) boxes.resize(static_cast<size_t>(most));
}

double overlap_of(const ObjectBox& a, const ObjectBox& b, bool inclusive) {
  const double plus = inclusive ? 1 : 0;
  const double w = std::min(double{a.x1}, double{b.x1}) - std::max(double{a.x0}, double{b.x0}) + plus;
  const double h = std::min(double{a.y1}, double{b.y1}) - std::max(double{a.y0}, double{b.y0}) + plus;
  if (w <= 0 || h <= 0) return 0;
  const double of_a = (double{a.x1} - a.x0 + plus) * (double{a.y1} - a.y0 + plus);
  const double of_b = (double{b.x1} - b.x0 + plus) * (double{b.y1} - b.y0 + plus);
  return w * h / (b.crowd ? of_a : of_a + of_b - w * h);
}

}  // namespace espalier
