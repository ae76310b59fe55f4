#pragma once
// How ops hold the parts of a batch norm that was taken apart (kernels/norm_parts.h).

#include "kernels/normed_conv.h"
#include "ops/normed_conv.h"

namespace espalier {

/// Where the parts of a norm stand among an op's inputs: moments, scale, shift, mean, variance from here on.
struct NormInputs {
  int first;
  int moments() const { return first; }
  int scale() const { return first + 1; }
  int shift() const { return first + 2; }
  int mean() const { return first + 3; }
  int variance() const { return first + 4; }
};

/// Throws Error unless the five inputs fit `channels`.
void check_norm(const Op& op, const NormAttributes& norm, std::span<const Meta> in, NormInputs at,
                int channels);

/// Picks the statistics, updates the running ones in training mode, and saves what backward needs.
void save_norm(const NormAttributes& norm, Ctx& ctx, NormInputs at, int64_t count);
/// From what save_norm() saved.
kernels::InputNorm saved_norm(const NormAttributes& norm, const Ctx& ctx);
/// Gradients of moments, scale and shift from the kernels' sums [2,C].
void norm_gradients(const Ctx& ctx, NormInputs at, const Tensor& sums, Tensors& dx);

/// What the gradient of moments adds to the gradient of the tensor that they were taken of.
struct MomentsGradient {
  Tensor constant, slope;  ///< [K], undefined when the gradient is zero
};
/// `dmoments` may be undefined.
MomentsGradient moments_gradient(const Tensor& dmoments, int64_t count);

/// The last of the tensors that norms save, there if the statistics were the batch's.
Tensor batch_statistics_mark();

}  // namespace espalier
