#pragma once
// Depthwise convolution for inference on the CPU: filters of a block of channels in registers, bias, residual
// and activation applied where the sums are, any number of threads.

#include <memory>
#include <span>
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
  int blocks() const;                         ///< vectors of channels
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

/// The same for output lines [rows) of N * P and vectors of channels [blocks) alone.
void depthwise_part(const ConvShape& shape, Activation act, const PaddedFilters& w, const float* x,
                    const float* residual, float* y, const Share& rows, const Share& blocks);

/// One output line: where the first row that the filter sees and the line itself start, in floats, and which
/// rows of the filter lie inside the image.
struct DepthwiseLine {
  int64_t x, y;
  int first, rows;
};

/// Output line p of an image; x and y are left to the caller.
DepthwiseLine depthwise_line(const ConvShape& shape, int p);

/// The lines alone. If `ring` is not 0, x is a ring of so many rows: the one after the last is the first.
void depthwise_lines(const ConvShape& shape, Activation act, const PaddedFilters& w, const float* x, int ring,
                     const float* residual, float* y, std::span<const DepthwiseLine> lines,
                     const Share& blocks);

}  // namespace espalier::kernels
