#include "kernels/normed_conv.h"

#include <type_traits>

#include "kernels/batch_norm.h"
#include "kernels/batch_norm_cuda.h"
#include "kernels/conv2d_cuda.h"
#include "kernels/cuda_scratch.h"
#include "kernels/depthwise.h"
#include "kernels/depthwise_cuda.h"
#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/normed_conv_cpu.h"
#include "kernels/row_parts.h"
#include "kernels/scratch.h"

namespace espalier::kernels {

namespace {

ESPALIER_HD float before_activation(const InputNorm& norm, int c, float x) {
  return norm.factor[c] * x + norm.offset[c];
}

template <class T>
struct NormalizeForward {
  int channels;
  const T* x;
  InputNorm norm;
  const T* residual;
  T* y;
  ESPALIER_HD void operator()(int64_t i) const {
    const int c = static_cast<int>(i % channels);
    float v = before_activation(norm, c, x[i]);
    if (residual) v += residual[i];
    y[i] = norm.act(v);
  }
};

/// dy * act'(.) at element i of channel c.
template <class T>
struct ActivationGradient {
  const T* x;
  InputNorm norm;
  const T *y, *dy;
  ESPALIER_HD float operator()(int64_t i, int c) const {
    const Activation& act = norm.act;
    if (act.slope == 1.0f && act.cap == Activation::kNoCap) return dy[i];
    const float out = y ? float(y[i]) : act(before_activation(norm, c, x[i]));
    return out > 0 ? (out < act.cap ? float(dy[i]) : 0.0f) : act.slope * dy[i];
  }
};

/// One row is one part of the rows; a tile sums its channels over it, in runs: one sum over all would lose
/// digits.
template <class T>
struct NormalizeSums {
  static constexpr int64_t kRun = 256;
  RowCut rows;
  int channels;
  ActivationGradient<T> gradient;
  float* sums;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    float total[kTile] = {}, product[kTile] = {};
    const int64_t last = rows.last(row);
    for (int64_t first = rows.first(row); first < last; first += kRun) {
      float part[kTile] = {}, part_product[kTile] = {};
      for (int64_t i = first; i < last && i < first + kRun; ++i)
        for (int c = 0; c < n; ++c) {
          const int64_t at = i * channels + c0 + c;
          const float g = gradient(at, c0 + c);
          part[c] += g;
          part_product[c] += g * (gradient.x[at] - gradient.norm.mean[c0 + c]);
        }
      for (int c = 0; c < n; ++c) total[c] += part[c], product[c] += part_product[c];
    }
    float* to = sums + row * 2 * channels + c0;
    for (int c = 0; c < n; ++c) to[c] = total[c], to[channels + c] = product[c];
  }
};

template <class T>
struct NormalizeBackwardX {
  int channels;
  ActivationGradient<T> gradient;
  MomentsTerm moments;
  T *dx, *dresidual;
  ESPALIER_HD void operator()(int64_t i) const {
    const int c = static_cast<int>(i % channels);
    const InputNorm& norm = gradient.norm;
    const float g = gradient(i, c);
    float whole = g * norm.factor[c];
    if (moments.slope) whole += moments.constant[c] + moments.slope[c] * (gradient.x[i] - norm.mean[c]);
    dx[i] = whole;
    if (dresidual) dresidual[i] = g;
  }
};

/// One row is one output pixel.
template <class T>
struct CompleteGradient {
  int channels;
  OutputGradient<T> dy;
  T* whole;
  template <int>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const T *g = dy.g + row * channels + c0, *y = dy.y + row * channels + c0;
    const float *constant = dy.constant + c0, *slope = dy.slope + c0, *mean = dy.mean + c0;
    T* out = whole + row * channels + c0;
    for (int c = 0; c < n; ++c) out[c] = g[c] + (constant[c] + slope[c] * (y[c] - mean[c]));
  }
};

/// Memory for the tensors that the fast paths never make. It stays for the next call: fresh pages cost as
/// much as what is done with them.
struct Normalised;
struct WholeGradient;
template <class Tag, class T>
T* temporary(Device device, int64_t elements) {
  const int64_t floats = (elements * static_cast<int64_t>(sizeof(T)) + 3) / 4;
  void* memory = device == Device::kCpu
                     ? scratch<Tag>(static_cast<size_t>(floats))
                     : cuda::scratch(std::is_same_v<Tag, Normalised> ? cuda::ScratchUse::kNormalised
                                                                     : cuda::ScratchUse::kWholeGradient,
                                     floats);
  return static_cast<T*>(memory);
}

int64_t pixels_in(const ConvShape& s) { return int64_t{s.N} * s.H * s.W; }
int64_t pixels_out(const ConvShape& s) { return int64_t{s.N} * s.P() * s.Q(); }

/// The steps of a convolution. `Of` is Dense or Depthwise. Those that take the norm of x with them are the
/// GPU's and return false, having done nothing, where it has no code for them.
struct Dense {
  template <class T>
  static void forward(Device d, const ConvShape& s, const T* x, const float* w, T* y) {
    conv2d_forward(d, s, x, w, {}, y);
  }
  template <class T>
  static void backward_x(Device d, const ConvShape& s, const T* dy, const float* w, T* dx) {
    conv2d_backward_x(d, s, dy, w, dx);
  }
  template <class T>
  static void backward_w(Device d, const ConvShape& s, const T* x, const T* dy, float* dw) {
    conv2d_backward_w(d, s, x, dy, dw);
  }
  template <class T>
  static bool backward_w_of_norm(const ConvShape& s, const T* x, const InputNorm& norm, const T* dy,
                                 float* dw) {
    return cuda::conv2d_backward_w_of_norm(s, x, norm, dy, dw);
  }
  template <class T>
  static bool backward_x_through_norm(const ConvShape& s, const T* x, const InputNorm& norm, const T* dy,
                                      const float* w, T* dx, float* sums) {
    return cuda::conv2d_backward_x_through_norm(s, x, norm, dy, w, dx, sums);
  }
};
struct Depthwise {
  template <class T>
  static void forward(Device d, const ConvShape& s, const T* x, const float* w, T* y) {
    depthwise_forward(d, s, x, w, {}, y);
  }
  template <class T>
  static void backward_x(Device d, const ConvShape& s, const T* dy, const float* w, T* dx) {
    depthwise_backward_x(d, s, dy, w, dx);
  }
  template <class T>
  static void backward_w(Device d, const ConvShape& s, const T* x, const T* dy, float* dw) {
    depthwise_backward_w(d, s, x, dy, dw);
  }
  template <class T>
  static bool backward_w_of_norm(const ConvShape& s, const T* x, const InputNorm& norm, const T* dy,
                                 float* dw) {
    return cuda::depthwise_backward_w(s, x, norm, dy, dw);
  }
  template <class T>
  static bool backward_x_through_norm(const ConvShape& s, const T* x, const InputNorm& norm, const T* dy,
                                      const float* w, T* dx, float* sums) {
    return cuda::depthwise_backward_through_norm<T>(s, x, norm, {.g = dy}, w, dx, sums, nullptr);
  }
};

template <class T>
const T* normalised(Device device, const ConvShape& s, const T* x, const InputNorm& norm) {
  if (!norm.factor) return x;
  T* z = temporary<Normalised, T>(device, pixels_in(s) * s.C);
  normalize_forward<T>(device, pixels_in(s), s.C, x, norm, nullptr, z);
  return z;
}

/// Once a gradient: what it makes may lie where dy.g did.
template <class T>
const T* complete(Device device, const ConvShape& s, const OutputGradient<T>& dy) {
  if (!dy.slope) return dy.g;
  T* whole = dy.room ? dy.room : temporary<WholeGradient, T>(device, pixels_out(s) * s.K);
  if (!fast_on_cuda(device) || !cuda::complete_gradient(pixels_out(s), s.K, dy, whole))
    for_each_tile(device, pixels_out(s), s.K, CompleteGradient<T>{s.K, dy, whole}, 4);
  return whole;
}

template <class Of, class T>
void forward_in_steps(Device device, const ConvShape& s, const T* x, const InputNorm& norm, const float* w,
                      T* y, float* moments) {
  Of::forward(device, s, normalised(device, s, x, norm), w, y);
  if (moments) batch_norm_statistics(device, pixels_out(s), s.K, y, moments, moments + s.K);
}

template <class Of, class T>
void backward_in_steps(Device device, const ConvShape& s, const T* x, const InputNorm& norm, const float* w,
                       const OutputGradient<T>& dy, const NormedGradients<T>& out) {
  const bool with_norm = norm.factor && fast_on_cuda(device);
  const T* g = complete(device, s, dy);
  const T* z = nullptr;
  const auto input = [&] { return z ? z : z = normalised(device, s, x, norm); };
  if (out.dw && !(with_norm && Of::backward_w_of_norm(s, x, norm, g, out.dw)))
    Of::backward_w(device, s, input(), g, out.dw);
  if (!out.dx) return;
  if (with_norm && Of::backward_x_through_norm(s, x, norm, g, w, out.dx, out.sums)) return;
  Of::backward_x(device, s, g, w, out.dx);
  if (norm.factor)
    normalize_backward<T>(device, pixels_in(s), s.C, x, norm, input(), out.dx, out.dx, out.sums, nullptr);
}

/// The GPU's depthwise kernels take the norm where they read x, and gather moments where they write.
template <class T>
bool depthwise_forward_on_cuda(const ConvShape& s, const T* x, const InputNorm& norm, const float* w, T* y,
                               float* moments) {
  return moments ? cuda::depthwise_forward_with_moments(s, x, norm, w, y, moments)
                 : cuda::depthwise_forward(s, x, norm, w, {}, y);
}

}  // namespace

template <class T>
void normed_conv2d_forward(Device device, const ConvShape& s, const T* x, const InputNorm& norm,
                           const float* w, T* y, float* moments) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::normed_conv2d_forward(s, x, norm, w, {}, y, moments)) return;
  if (moments && fast_on_cuda(device) && cuda::conv2d_forward_with_moments(s, x, norm, w, y, moments)) return;
  forward_in_steps<Dense>(device, s, x, norm, w, y, moments);
}

template <class T>
void normed_conv2d_backward(Device device, const ConvShape& s, const T* x, const InputNorm& norm,
                            const float* w, const OutputGradient<T>& dy, const NormedGradients<T>& out) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::normed_conv2d_backward(s, x, norm, w, dy, out)) return;
  backward_in_steps<Dense>(device, s, x, norm, w, dy, out);
}

template <class T>
void normed_depthwise_forward(Device device, const ConvShape& s, const T* x, const InputNorm& norm,
                              const float* w, T* y, float* moments) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::normed_depthwise_forward(s, x, norm, w, {}, y, moments)) return;
  if (fast_on_cuda(device) && depthwise_forward_on_cuda(s, x, norm, w, y, moments)) return;
  forward_in_steps<Depthwise>(device, s, x, norm, w, y, moments);
}

template <class T>
void normed_depthwise_backward(Device device, const ConvShape& s, const T* x, const InputNorm& norm,
                               const float* w, const OutputGradient<T>& dy, const NormedGradients<T>& out) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::normed_depthwise_backward(s, x, norm, w, dy, out)) return;
  // One pass makes all gradients, and completes dy where it reads it.
  if (fast_on_cuda(device) && norm.factor && out.dx &&
      cuda::depthwise_backward_through_norm(s, x, norm, dy, w, out.dx, out.sums, out.dw))
    return;
  backward_in_steps<Depthwise>(device, s, x, norm, w, dy, out);
}

template <class T>
void normalize_forward(Device device, int64_t rows, int channels, const T* x, const InputNorm& norm,
                       const T* residual, T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device)) return cpu::normalize_forward(rows, channels, x, norm, residual, y);
  if (fast_on_cuda(device) && cuda::normalize_forward(rows, channels, x, norm, residual, y)) return;
  for_each(device, rows * channels, NormalizeForward<T>{channels, x, norm, residual, y});
}

template <class T>
void normalize_backward(Device device, int64_t rows, int channels, const T* x, const InputNorm& norm,
                        const T* y, const T* dy, T* dx, float* sums, T* dresidual) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && (y || norm.act.is_none()))
      return cpu::normalize_backward(rows, channels, x, norm, y, dy, dx, sums, dresidual);
  normalize_sums(device, rows, channels, x, norm, y, dy, sums);
  normalize_backward_x(device, rows, channels, x, norm, y, dy, {}, dx, dresidual);
}

template <class T>
void normalize_sums(Device device, int64_t rows, int channels, const T* x, const InputNorm& norm, const T* y,
                    const T* dy, float* sums) {
  if (fast_on_cuda(device) && cuda::normalize_sums(rows, channels, x, norm, y, dy, sums)) return;
  const RowCut cut(rows, NormalizeSums<T>::kRun, 256);
  sum_in_parts(device, cut.parts(), 2 * channels, sums, [&](float* parts) {
    for_each_tile(device, cut.parts(), channels, NormalizeSums<T>{cut, channels, {x, norm, y, dy}, parts},
                  cut.length);
  });
}

template <class T>
void normalize_backward_x(Device device, int64_t rows, int channels, const T* x, const InputNorm& norm,
                          const T* y, const T* dy, const MomentsTerm& moments, T* dx, T* dresidual) {
  if (fast_on_cuda(device) &&
      cuda::normalize_backward_x(rows, channels, x, norm, y, dy, moments, dx, dresidual))
    return;
  for_each(device, rows * channels,
           NormalizeBackwardX<T>{channels, {x, norm, y, dy}, moments, dx, dresidual});
}

#define ESPALIER_FOR(T)                                                                                      \
  template void normed_conv2d_forward(Device, const ConvShape&, const T*, const InputNorm&, const float*,    \
                                      T*, float*);                                                           \
  template void normed_conv2d_backward(Device, const ConvShape&, const T*, const InputNorm&, const float*,   \
                                       const OutputGradient<T>&, const NormedGradients<T>&);                 \
  template void normed_depthwise_forward(Device, const ConvShape&, const T*, const InputNorm&, const float*, \
                                         T*, float*);                                                        \
  template void normed_depthwise_backward(Device, const ConvShape&, const T*, const InputNorm&,              \
                                          const float*, const OutputGradient<T>&,                            \
                                          const NormedGradients<T>&);                                        \
  template void normalize_forward(Device, int64_t, int, const T*, const InputNorm&, const T*, T*);           \
  template void normalize_backward(Device, int64_t, int, const T*, const InputNorm&, const T*, const T*, T*, \
                                   float*, T*);                                                              \
  template void normalize_sums(Device, int64_t, int, const T*, const InputNorm&, const T*, const T*,         \
                               float*);                                                                      \
  template void normalize_backward_x(Device, int64_t, int, const T*, const InputNorm&, const T*, const T*,   \
                                     const MomentsTerm&, T*, T*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

}  // namespace espalier::kernels
