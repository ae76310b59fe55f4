#pragma once
// Depthwise convolution: x [N,H,W,C], w [R,S,C], y [N,P,Q,C]; shape.K equals shape.C.

#include "kernels/conv2d.h"

namespace espalier::kernels {

/// y[n,p,q,c] = act(sum over r,s of x[n, p*stride-top+r, q*stride-left+s, c] * w[r,s,c] + bias[c] +
/// residual[n,p,q,c])
void depthwise_forward(Device device, const ConvShape& shape, const float* x, const float* w,
                       const Epilogue& epilogue, float* y);

/// dx[n,h,v,c] = sum over r,s of dy[n,p,q,c] * w[r,s,c] where p*stride-top+r = h and q*stride-left+s = v
void depthwise_backward_x(Device device, const ConvShape& shape, const float* dy, const float* w, float* dx);

/// dw[r,s,c] = sum over n,p,q of dy[n,p,q,c] * x[n, p*stride-top+r, q*stride-left+s, c]
void depthwise_backward_w(Device device, const ConvShape& shape, const float* x, const float* dy, float* dw);

}  // namespace espalier::kernels
