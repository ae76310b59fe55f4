#pragma once
// Where each value of a plan lies in the one block of memory that all of them share.

#include <cstdint>
#include <span>
#include <vector>

namespace espalier {

/// A block of memory that must keep its contents from step `first` to step `last`, both included.
struct Lifetime {
  int64_t bytes = 0;
  int first = 0, last = 0;
};

struct ArenaLayout {
  static constexpr int64_t kAlignment = 64;

  std::vector<int64_t> offsets;  ///< one a lifetime; multiples of kAlignment
  int64_t bytes = 0;             ///< of the whole arena
};

/// Places the largest blocks first, each into the smallest gap that is free for all of its life (greedy by
/// size, as in Pisarchyk and Lee, 2020, "Efficient Memory Management for Deep Neural Net Inference").
ArenaLayout plan_arena(std::span<const Lifetime> lifetimes);

}  // namespace espalier
