#pragma once

#include "kernels/team.h"

namespace espalier::kernels {

/// How a team divides rows x columns of work: threads = down * across.
struct Grid {
  int down = 1, across = 1;

  Share rows(const Team& team, int count) const { return {count, team.thread / across, down}; }
  Share columns(const Team& team, int count) const { return {count, team.thread % across, across}; }
};

/// What the work costs, in cycles: `work` per row and column, and what a thread has to fetch of operands that
/// belong to a row (inputs) and to a column (weights), whichever thread it is.
struct GridCost {
  double work, row, column;
};

/// The division with the least cost for the busiest thread.
inline Grid choose_grid(int threads, int rows, int columns, const GridCost& cost) {
  Grid best;
  double least = -1;
  for (int across = 1; across <= threads; ++across) {
    if (threads % across) continue;
    const int down = threads / across;
    const double r = (rows + down - 1) / down, c = (columns + across - 1) / across;
    const double estimate = r * c * cost.work + r * cost.row + c * cost.column;
    if (least < 0 || estimate < least) least = estimate, best = {down, across};
  }
  return best;
}

}  // namespace espalier::kernels
