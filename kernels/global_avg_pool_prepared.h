#pragma once

#include <cstdint>

#include "kernels/team.h"

namespace espalier::kernels {

/// y[n,c] = mean over the `pixels` of x[n,...,c]: x [N,pixels,C] to [N,C]. One share of the work.
void global_avg_pool_prepared(int N, int64_t pixels, int C, const float* x, float* y, const Team& team);

}  // namespace espalier::kernels
