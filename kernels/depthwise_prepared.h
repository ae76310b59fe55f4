#pragma once
// Depthwise convolution for inference on the CPU: filters of a block of channels in registers, bias, residual
// and activation applied where the sums are, any number of threads.

#include <memory>
#include <vector>

#include "kernels/activation.h"
#include "kernels/conv_shape.h"
#include "kernels/team.h"

namespace espalier::kernels {

/// Filters w [R,S,C] and a bias [C], both with C filled up with zeros to whole vectors.
class PaddedFilters {
 public:
  /// `bias` may be null.
  PaddedFilters(const float* w, const float* bias, int R, int S, int C);

  int channels() const { return channels_; }  ///< a multiple of the vector's lanes
  const float* filter() const { return values_.data(); }
  const float* bias() const { return values_.data() + values_.size() - channels_; }
  int64_t bytes() const { return static_cast<int64_t>(values_.size() * sizeof(float)); }

 private:
  int channels_;
  std::vector<float> values_;
};

/// y = act(depthwise(x, w) + bias + residual), residual null or like y; it may be y itself. Called by every
/// thread of the team.
void depthwise_prepared(const ConvShape& shape, Activation act, const PaddedFilters& w, const float* x,
                        const float* residual, float* y, const Team& team);

}  // namespace espalier::kernels
