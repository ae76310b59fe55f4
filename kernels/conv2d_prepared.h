#pragma once
// Dense convolution and linear layers for inference on the CPU: filters packed once, bias, residual and
// activation in the registers that hold the sums, any number of threads.

#include <cstdint>
#include <memory>

#include "kernels/activation.h"
#include "kernels/conv_shape.h"
#include "kernels/team.h"

namespace espalier::kernels {

/// Filters w [K,R,S,C] as [ceil(K / lanes)][R][S * C][lanes], the last block filled up with zeros, and the
/// bias filled up likewise.
class PackedFilters {
 public:
  /// `bias` may be null.
  PackedFilters(const float* w, const float* bias, int K, int R, int S, int C);

  int blocks() const { return blocks_; }
  int64_t block_stride() const { return block_stride_; }  ///< in floats
  const float* block(int b) const { return memory_.get() + b * block_stride_; }
  const float* bias(int b) const;
  int64_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(float* memory) const;
  };
  int blocks_;
  int64_t block_stride_, bytes_;
  std::unique_ptr<float[], Free> memory_;
};

/// y = act(conv(x, w) + bias + residual), residual null or like y; it may be y itself. One share of
/// the work. Each sum is taken in one order whatever the threads, in fp32 with fused multiply-adds.
void conv2d_prepared(const ConvShape& shape, Activation act, const PackedFilters& w, const float* x,
                     const float* residual, float* y, const Team& team);

/// The same for output lines [lines) of N * P and blocks of channels [blocks) alone. y and residual start at
/// the first of these lines.
void conv2d_lines(const ConvShape& shape, Activation act, const PackedFilters& w, const float* x,
                  const float* residual, float* y, const Share& lines, const Share& blocks);

}  // namespace espalier::kernels
