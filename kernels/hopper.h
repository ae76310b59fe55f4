#pragma once

namespace espalier::kernels::cuda {

/// Whether the current card runs code for sm_90a, which no later one does.
bool is_hopper();

}  // namespace espalier::kernels::cuda
