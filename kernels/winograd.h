#pragma once
// 3x3 convolution without stride by Winograd's minimal filtering F(4x4, 3x3) for inference on the CPU: 36
// multiplications where the sum of products takes 144, after Lavin and Gray, 2016, "Fast Algorithms for
// Convolutional Neural Networks".
//
//   y = A' [(G w G') * (B' x B)] A   for every 4x4 tile of outputs, summed over the input channels before A.
//
// Its rounding error is about ten times that of the direct sum, still far below what fp32 networks notice.

#include <memory>
#include <vector>

#include "kernels/conv2d_prepared.h"

namespace espalier::kernels {

/// G w G' of filters w [K,3,3,C], as 36 matrices [C,K] packed like the filters of a 1x1 convolution.
class WinogradFilters {
 public:
  /// `bias` may be null.
  WinogradFilters(const float* w, const float* bias, int K, int C);

  const PackedFilters& at(int point) const { return *points_[point]; }  ///< point = row * 6 + column
  const float* bias() const { return bias_.data(); }                    ///< whole vectors of channels
  int64_t bytes() const;

 private:
  std::unique_ptr<PackedFilters> points_[36];
  std::vector<float> bias_;
};

/// True if the method applies and pays: enough channels that its transforms are cheap beside the products,
/// and not so many that 36/9 times the filters have to come from memory for every picture.
bool winograd_suits(const ConvShape& shape);

/// y = act(conv(x, w) + bias + residual) as conv2d_prepared(), for shapes of 3x3 filters without stride;
/// residual may be y. Every output is the same whatever the threads.
void winograd_prepared(const ConvShape& shape, Activation act, const WinogradFilters& w, const float* x,
                       const float* residual, float* y, const Team& team);

}  // namespace espalier::kernels
