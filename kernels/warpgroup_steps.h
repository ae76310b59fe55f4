#pragma once
// How a loop on Hopper's tensor cores overlaps its steps: while one is multiplied the next ones are brought.

#include "kernels/warpgroup.h"

namespace espalier::kernels::warp {

/// fetch(buffer, step) starts a step's copies, multiply(buffer, more) its products, to which sums that are
/// there are added where `more`. A step's buffer was read kStages - kAhead = 2 steps before: its products are
/// waited for at the end of the step after it, and the barrier after that says so of every group. There is at
/// least one step.
template <int kStages, int kStageBytes, class Sum, int kSums, class Fetch, class Multiply>
ESPALIER_SIMT void run_steps(int steps, unsigned char* buffers, Sum (&sum)[kSums], const Fetch& fetch,
                             const Multiply& multiply) {
  constexpr int kAhead = kStages - 2;
  ESPALIER_UNROLL
  for (int s = 0; s < kAhead; ++s) {
    if (s < steps) fetch(buffers + s * kStageBytes, s);
    commit_copies();
  }
  // A loop that might not run, or sums that begin as zeros, would make the compiler move registers of
  // products that are on their way, and wait for each.
  int step = 0;
  do {
    wait_copies<kAhead - 1>();
    publish_to_products();
    barrier();
    hold(sum);
    begin_products();
    multiply(buffers + step % kStages * kStageBytes, step > 0);
    commit_products();
    if (step + kAhead < steps) fetch(buffers + (step + kAhead) % kStages * kStageBytes, step + kAhead);
    commit_copies();
    wait_products<1>();
  } while (++step < steps);
  wait_products<0>();
  hold(sum);
}

}  // namespace espalier::kernels::warp
