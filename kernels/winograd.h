#pragma once
// 3x3 convolution without stride by Winograd's minimal filtering F(4x4, 3x3) on the CPU: 36 multiplications
// where the sum of products takes 144, after Lavin and Gray, 2016, "Fast Algorithms for Convolutional Neural
// Networks".
//
//   y = A' [(G w G') * (B' x B)] A   for every 4x4 tile of outputs, summed over the input channels before A.
//
// Its rounding error is about ten times that of the direct sum, still far below what fp32 networks notice.

#include <cstdint>
#include <memory>

#include "kernels/activation.h"
#include "kernels/conv_shape.h"
#include "kernels/team.h"

namespace espalier::kernels {

/// True if the formula holds for the shape and there are enough channels that the transforms are cheap beside
/// the products.
bool winograd_applies(const ConvShape& shape);

/// True if training should take it, which transforms the filters for every step: there are enough tiles that
/// this and fetching what becomes of the filters cost little, and not so many filters that they take tens of
/// megabytes.
bool winograd_pays(const ConvShape& shape);

/// Floats of the transformed filters of C channels to K.
int64_t winograd_filter_floats(int K, int C);

/// u = G w G' of filters w [K,3,3,C] as [36][ceil(K / lanes)][C][lanes], the last block filled up with zeros.
/// One share of the work.
void winograd_filters(const float* w, int K, int C, float* u, const Team& team);

/// The same of the filters turned by half a circle and transposed, w'[c,r,s,k] = w[k,2-r,2-s,c]: convolving
/// dy with them gives dx.
void winograd_turned_filters(const float* w, int K, int C, float* u, const Team& team);

/// y = act(conv(x, w) + bias + residual), u being the transformed filters; bias null or filled up to whole
/// vectors of channels, residual null or like y; it may be y. One share of the work; every output is the same
/// whatever the threads.
void winograd_conv2d(const ConvShape& shape, Activation act, const float* u, const float* bias,
                     const float* x, const float* residual, float* y, const Team& team);

/// Filters transformed once, for inference.
class WinogradFilters {
 public:
  /// `bias` may be null.
  WinogradFilters(const float* w, const float* bias, int K, int C);

  const float* filters() const { return memory_.get(); }
  const float* bias() const { return bias_; }
  int64_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(float* memory) const;
  };
  std::unique_ptr<float[], Free> memory_;
  float* bias_;
  int64_t bytes_;
};

/// True if inference should take it: winograd_applies(), and not so many channels that 36/9 times the filters
/// have to come from memory for every picture.
bool winograd_suits(const ConvShape& shape);

/// winograd_conv2d() as conv2d_prepared.h's functions.
void winograd_prepared(const ConvShape& shape, Activation act, const WinogradFilters& w, const float* x,
                       const float* residual, float* y, const Team& team);

}  // namespace espalier::kernels
