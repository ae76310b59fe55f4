#pragma once
// Dense convolution and its gradients. A linear layer is the same thing on 1x1 images.

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/bf16.h"
#include "kernels/conv_shape.h"

namespace espalier::kernels {

/// What follows a convolution's sums: y = act(sum + bias + residual).
template <class T>
struct EpilogueOf {
  const float* bias = nullptr;  ///< [K] or null
  const T* residual = nullptr;  ///< like y or null; it may be y itself
  Activation act;
};
using Epilogue = EpilogueOf<float>;

/// y[n,p,q,k] = act(sum over r,s,c of x[n, p*stride-top+r, q*stride-left+s, c] * w[k,r,s,c] + bias[k] +
/// residual[n,p,q,k]); what lies outside the image counts as 0. x [N,H,W,C], w [K,R,S,C], y [N,P,Q,K]. Here
/// and below T is float or Bf16.
template <class T>
void conv2d_forward(Device device, const ConvShape& shape, const T* x, const float* w,
                    const EpilogueOf<T>& epilogue, T* y);
/// The same with filters that were rounded before; false, having done nothing, where only the other takes it.
bool conv2d_forward_of_stored(Device device, const ConvShape& shape, const Bf16* x, const Bf16* w,
                              const EpilogueOf<Bf16>& epilogue, Bf16* y);

/// dx[n,h,v,c] = sum over k and the r,s with h = p*stride-top+r, v = q*stride-left+s of
/// dy[n,p,q,k] * w[k,r,s,c].
template <class T>
void conv2d_backward_x(Device device, const ConvShape& shape, const T* dy, const float* w, T* dx);

/// dw[k,r,s,c] = sum over n,p,q of dy[n,p,q,k] * x[n, p*stride-top+r, q*stride-left+s, c]. On the CPU the
/// sums are split in parts that depend on the number of threads.
template <class T>
void conv2d_backward_w(Device device, const ConvShape& shape, const T* x, const T* dy, float* dw);

/// sum[c] = sum over rows of x[row,c]: the gradient of a bias.
template <class T>
void sum_rows(Device device, int64_t rows, int channels, const T* x, float* sum);

}  // namespace espalier::kernels
