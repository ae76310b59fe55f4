#pragma once
// Fast paths of normed_conv.h. Each returns false, having done nothing, for a problem it has no code for.

#include "kernels/normed_conv.h"

namespace espalier::kernels::cpu {

/// Any filter whose rows of the matrix product can be gathered cheaply; `epilogue` instead of moments is for
/// the plain convolution.
bool normed_conv2d_forward(const ConvShape& shape, const float* x, const InputNorm& norm, const float* w,
                           const Epilogue& epilogue, float* y, float* moments);
bool normed_conv2d_backward(const ConvShape& shape, const float* x, const InputNorm& norm, const float* w,
                            const OutputGradient<>& dy, const NormedGradients<>& gradients);

bool normed_depthwise_forward(const ConvShape& shape, const float* x, const InputNorm& norm, const float* w,
                              const Epilogue& epilogue, float* y, float* moments);
bool normed_depthwise_backward(const ConvShape& shape, const float* x, const InputNorm& norm, const float* w,
                               const OutputGradient<>& dy, const NormedGradients<>& gradients);

void normalize_forward(int64_t rows, int channels, const float* x, const InputNorm& norm,
                       const float* residual, float* y);
void normalize_backward(int64_t rows, int channels, const float* x, const InputNorm& norm, const float* y,
                        const float* dy, float* dx, float* sums, float* dresidual);

}  // namespace espalier::kernels::cpu
