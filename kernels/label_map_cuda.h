#pragma once

#include "base/error.h"
#include "kernels/label_map.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
void count_label_pairs(int64_t n, int classes, const uint8_t* labels, const uint8_t* predictions,
                       int64_t* counts);
#else
inline void count_label_pairs(int64_t, int, const uint8_t*, const uint8_t*, int64_t*) {
  fail("device cuda: " + cuda_obstacle());
}
#endif

}  // namespace espalier::kernels::cuda
