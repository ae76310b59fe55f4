#pragma once
// Convolutions for training that take a batch norm apart: its statistics are gathered where the convolution
// before it makes their tensor, its normalisation and activation happen where the convolution after it reads
// it. The normalised tensor never exists in memory, which is what a training step of a small network spends
// most of its time on (in-place activated batch norm, Bulo et al. 2018, goes half of this way).

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/conv2d.h"

namespace espalier::kernels {

/// How a kernel reads a tensor: z = act(factor[c] * x + offset[c]), or z = x where factor is null.
struct InputNorm {
  const float* factor = nullptr;
  const float* offset = nullptr;
  const float* mean = nullptr;  ///< [C], for the gradients only
  Activation act;
};

/// The whole gradient of an output whose moments were taken: dy = g + constant[k] + slope[k] * (y - mean[k]),
/// or dy = g where slope is null.
template <class T = float>
struct OutputGradient {
  const T* g = nullptr;
  const T* y = nullptr;
  const float* constant = nullptr;
  const float* slope = nullptr;
  const float* mean = nullptr;
  T* room = nullptr;  ///< where dy may be written, perhaps over g; null: in memory of the kernels' own
};

/// Where gradients go; what is null is not computed.
template <class T = float>
struct NormedGradients {
  T* dx = nullptr;  ///< like x: G * factor, where G = dz * act'(.) is the gradient before the activation
  float* sums = nullptr;  ///< [2,C]: sum of G, sum of G * (x - mean); needs a norm and dx
  float* dw = nullptr;    ///< like w
};

/// y = conv(z, w), z from x as `norm` says. moments [2,K] gets the mean and the biased variance of y over N,
/// P and Q; it may be null. Activations and their gradients are T, float or Bf16; sums, parameters and all
/// that is per channel is float.
template <class T>
void normed_conv2d_forward(Device device, const ConvShape& shape, const T* x, const InputNorm& norm,
                           const float* w, T* y, float* moments);
template <class T>
void normed_conv2d_backward(Device device, const ConvShape& shape, const T* x, const InputNorm& norm,
                            const float* w, const OutputGradient<T>& dy, const NormedGradients<T>& gradients);

/// The same with one filter a channel, w [R,S,C].
template <class T>
void normed_depthwise_forward(Device device, const ConvShape& shape, const T* x, const InputNorm& norm,
                              const float* w, T* y, float* moments);
template <class T>
void normed_depthwise_backward(Device device, const ConvShape& shape, const T* x, const InputNorm& norm,
                               const float* w, const OutputGradient<T>& dy,
                               const NormedGradients<T>& gradients);

/// y = act(factor[c] * x + offset[c] + residual), residual null or like x. rows x C.
template <class T>
void normalize_forward(Device device, int64_t rows, int channels, const T* x, const InputNorm& norm,
                       const T* residual, T* y);
/// G = dy * act'(.), from the output y or, where that is null, found again from x; y must be there behind a
/// residual. dx = G * factor; sums as above; dresidual = G, null if not wanted.
template <class T>
void normalize_backward(Device device, int64_t rows, int channels, const T* x, const InputNorm& norm,
                        const T* y, const T* dy, T* dx, float* sums, T* dresidual);
/// The sums of it alone.
template <class T>
void normalize_sums(Device device, int64_t rows, int channels, const T* x, const InputNorm& norm, const T* y,
                    const T* dy, float* sums);

/// What a tensor's moments add to its gradient: constant[c] + slope[c] * (x - mean[c]); nothing where slope
/// is null.
struct MomentsTerm {
  const float* constant = nullptr;
  const float* slope = nullptr;
};
/// dx = G * factor + the term of the moments of x, about norm.mean; and dresidual.
template <class T>
void normalize_backward_x(Device device, int64_t rows, int channels, const T* x, const InputNorm& norm,
                          const T* y, const T* dy, const MomentsTerm& moments, T* dx, T* dresidual);

}  // namespace espalier::kernels
