#pragma once
// Batch normalisation on the CPU in the fewest passes over memory, with the formulas of batch_norm.h. Sums
// are split in parts whose number does not depend on the threads.

#include "kernels/batch_norm.h"

namespace espalier::kernels::cpu {

void batch_norm_statistics(int64_t rows, int channels, const float* x, float* mean, float* variance);
void batch_norm_forward(const BatchNormProblem& problem, float* y);
void batch_norm_backward_parameters(const BatchNormProblem& problem, const float* dy, float* dscale,
                                    float* dshift);
void batch_norm_backward_x(const BatchNormProblem& problem, const float* dy, const float* dscale,
                           const float* dshift, bool batch_statistics, float* dx, float* dresidual);

}  // namespace espalier::kernels::cpu
