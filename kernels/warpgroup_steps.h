#pragma once
// How a loop on Hopper's tensor cores overlaps its steps: while one is multiplied the next ones are brought.

#include "kernels/warpgroup.h"

namespace espalier::kernels::warp {

/// fetch(step) starts a step's copies, multiply(step, more) its products, to which sums that are there are
/// added where `more`. While a step is multiplied the one kAhead steps on is fetched; that may overwrite what
/// was read two steps before: those products are waited for at the end of the step after them, and the
/// barrier after that says so of every group. There is at least one step.
template <int kAhead, class Sum, int kSums, class Fetch, class Multiply>
ESPALIER_SIMT void run_numbered_steps(int steps, Sum (&sum)[kSums], const Fetch& fetch,
                                      const Multiply& multiply) {
  ESPALIER_UNROLL
  for (int s = 0; s < kAhead; ++s) {
    if (s < steps) fetch(s);
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
    multiply(step, step > 0);
    commit_products();
    if (step + kAhead < steps) fetch(step + kAhead);
    commit_copies();
    wait_products<1>();
  } while (++step < steps);
  wait_products<0>();
  hold(sum);
}

/// The same where all that a step needs lies in one of kStages buffers: fetch(buffer, step), multiply(buffer,
/// more).
template <int kStages, int kStageBytes, class Sum, int kSums, class Fetch, class Multiply>
ESPALIER_SIMT void run_steps(int steps, unsigned char* buffers, Sum (&sum)[kSums], const Fetch& fetch,
                             const Multiply& multiply) {
  constexpr int kAhead = kStages - 2;
  const auto buffer = [&](int step) { return buffers + step % kStages * kStageBytes; };
  run_numbered_steps<kAhead>(
      steps, sum, [&](int step) { fetch(buffer(step), step); },
      [&](int step, bool more) { multiply(buffer(step), more); });
}

}  // namespace espalier::kernels::warp
