#include "runtime/arena.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace espalier {

ArenaLayout plan_arena(std::span<const Lifetime> lifetimes) {
  const auto padded = [&](int i) {
    return (lifetimes[i].bytes + ArenaLayout::kAlignment - 1) / ArenaLayout::kAlignment *
           ArenaLayout::kAlignment;
  };
  std::vector<int> order(lifetimes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return padded(a) > padded(b); });

  ArenaLayout layout{std::vector<int64_t>(lifetimes.size(), 0), 0};
  std::vector<int> placed;  // by offset
  for (const int i : order) {
    int64_t best = -1, best_gap = std::numeric_limits<int64_t>::max(), end = 0;
    for (const int j : placed) {
      if (lifetimes[j].last < lifetimes[i].first || lifetimes[i].last < lifetimes[j].first) continue;
      const int64_t gap = layout.offsets[j] - end;
      if (gap >= padded(i) && gap < best_gap) best = end, best_gap = gap;
      end = std::max(end, layout.offsets[j] + padded(j));
    }
    layout.offsets[i] = best >= 0 ? best : end;
    layout.bytes = std::max(layout.bytes, layout.offsets[i] + padded(i));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](int a, int b) { return layout.offsets[a] < layout.offsets[b]; }),
                  i);
  }
  return layout;
}

}  // namespace espalier
