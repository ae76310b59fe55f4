#pragma once
// What the current card can.

#include <cstdint>

namespace espalier::kernels::cuda {

/// Whether it runs code for sm_90a, which no later one does.
bool is_hopper();

/// Bytes of shared memory that a block may ask for: 227 KiB on a Hopper, 163 on an A100, 99 on consumers'
/// cards.
int64_t shared_memory_of_block();

}  // namespace espalier::kernels::cuda
