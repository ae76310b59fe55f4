#pragma once
// Depthwise convolution: x [N,H,W,C], w [R,S,C], y [N,P,Q,C]; shape.K equals shape.C; T is
// float or Bf16.

#include "kernels/conv2d.h"

namespace espalier::kernels {

/// y[n,p,q,c] = act(sum over r,s of x[n, p*stride-top+r, q*stride-left+s, c] * w[r,s,c] + bias[c] +
/// residual[n,p,q,c])
template <class T>
void depthwise_forward(Device device, const ConvShape& shape, const T* x, const float* w,
                       const EpilogueOf<T>& epilogue, T* y);

/// dx[n,h,v,c] = sum over r,s of dy[n,p,q,c] * w[r,s,c] where p*stride-top+r = h and q*stride-left+s = v
template <class T>
void depthwise_backward_x(Device device, const ConvShape& shape, const T* dy, const float* w, T* dx);

/// dw[r,s,c] = sum over n,p,q of dy[n,p,q,c] * x[n, p*stride-top+r, q*stride-left+s, c]
template <class T>
void depthwise_backward_w(Device device, const ConvShape& shape, const T* x, const T* dy, float* dw);

}  // namespace espalier::kernels
