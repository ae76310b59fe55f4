#pragma once

#include "base/error.h"
#include "kernels/magnitudes.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
MagnitudeRange magnitude_range(int64_t n, const float* x);
void count_magnitudes(int64_t n, const float* x, double per_width, int64_t* bins, int64_t* octaves);
#else
inline MagnitudeRange magnitude_range(int64_t, const float*) { fail("device cuda: " + cuda_obstacle()); }
inline void count_magnitudes(int64_t, const float*, double, int64_t*, int64_t*) {
  fail("device cuda: " + cuda_obstacle());
}
#endif

}  // namespace espalier::kernels::cuda
