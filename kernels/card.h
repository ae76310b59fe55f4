#pragma once
// What the card can, or what a test makes of it.

#include <cstdint>
#include <limits>

namespace espalier::kernels::cuda {

/// Whether it runs code for sm_90a, which no later one does.
bool is_hopper();

/// Bytes of shared memory that a block may ask for: 227 KiB on a Hopper, 163 on an A100, 99 on consumers'
/// cards; no more than the last limit_shared_memory_of_block().
int64_t shared_memory_of_block();

/// Makes it a card with no more than these bytes, which is no Hopper, for tests of what smaller cards run;
/// kWholeCard makes it what it is.
constexpr int64_t kWholeCard = std::numeric_limits<int64_t>::max();
void limit_shared_memory_of_block(int64_t bytes);

}  // namespace espalier::kernels::cuda
