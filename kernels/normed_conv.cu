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
#include "kernels/scratch.h"

namespace espalier::kernels {

namespace {

struct NormalizeForward {
  int channels;
  const float* x;
  InputNorm norm;
  const float* residual;
  float* y;
  ESPALIER_HD void operator()(int64_t i) const {
    const int c = static_cast<int>(i % channels);
    float v = norm.factor[c] * x[i] + norm.offset[c];
    if (residual) v += residual[i];
    y[i] = norm.act(v);
  }
};

/// One row only; a tile sums its channels over all rows, in runs: one sum over all would lose digits.
struct NormalizeSums {
  static constexpr int64_t kRun = 256;
  int64_t rows;
  int channels;
  const float *x, *mean, *y, *dy;
  Activation act;
  float* sums;
  template <int T>
  ESPALIER_HD void tile(int64_t, int c0, int n) const {
    float total[T] = {}, product[T] = {};
    for (int64_t first = 0; first < rows; first += kRun) {
      float part[T] = {}, part_product[T] = {};
      for (int64_t i = first; i < rows && i < first + kRun; ++i)
        for (int c = 0; c < n; ++c) {
          const int64_t at = i * channels + c0 + c;
          const float g = activation_gradient(act, y ? y[at] : 0, dy[at]);
          part[c] += g;
          part_product[c] += g * (x[at] - mean[c0 + c]);
        }
      for (int c = 0; c < n; ++c) total[c] += part[c], product[c] += part_product[c];
    }
    for (int c = 0; c < n; ++c) sums[c0 + c] = total[c], sums[channels + c0 + c] = product[c];
  }
  ESPALIER_HD static float activation_gradient(Activation act, float y, float dy) {
    if (act.slope == 1.0f && act.cap == Activation::kNoCap) return dy;
    return y > 0 ? (y < act.cap ? dy : 0.0f) : act.slope * dy;
  }
};

struct NormalizeBackwardX {
  int channels;
  const float *factor, *y, *dy;
  Activation act;
  float *dx, *dresidual;
  ESPALIER_HD void operator()(int64_t i) const {
    const float g = NormalizeSums::activation_gradient(act, y ? y[i] : 0, dy[i]);
    dx[i] = g * factor[i % channels];
    if (dresidual) dresidual[i] = g;
  }
};

/// One row is one output pixel.
struct CompleteGradient {
  int channels;
  OutputGradient dy;
  float* whole;
  template <int T>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const float *g = dy.g + row * channels + c0, *y = dy.y + row * channels + c0;
    const float *constant = dy.constant + c0, *slope = dy.slope + c0, *mean = dy.mean + c0;
    float* out = whole + row * channels + c0;
    for (int c = 0; c < n; ++c) out[c] = g[c] + (constant[c] + slope[c] * (y[c] - mean[c]));
  }
};

/// Memory for the tensors that the fast paths never make. It stays for the next call: fresh pages cost as
/// much as what is done with them.
struct Normalised;
struct WholeGradient;
template <class Tag>
float* temporary(Device device, int64_t floats) {
  if (device == Device::kCpu) return scratch<Tag>(static_cast<size_t>(floats));
  return cuda::scratch(
      std::is_same_v<Tag, Normalised> ? cuda::ScratchUse::kNormalised : cuda::ScratchUse::kWholeGradient,
      floats);
}

int64_t pixels_in(const ConvShape& s) { return int64_t{s.N} * s.H * s.W; }
int64_t pixels_out(const ConvShape& s) { return int64_t{s.N} * s.P() * s.Q(); }

using Forward = void (*)(Device, const ConvShape&, const float*, const float*, const Epilogue&, float*);
using BackwardX = void (*)(Device, const ConvShape&, const float*, const float*, float*);
using BackwardW = void (*)(Device, const ConvShape&, const float*, const float*, float*);

/// Passes that take the norm with them; each is null, or returns false, where there is none.
struct WithNorm {
  bool (*forward)(const ConvShape&, const float*, const InputNorm&, const float*, float*, float*) = nullptr;
  bool (*backward_x)(const ConvShape&, const float*, const InputNorm&, const float*, const float*, float*,
                     float*) = nullptr;
  bool (*backward_w)(const ConvShape&, const float*, const InputNorm&, const float*, float*) = nullptr;
};
WithNorm dense_with_norm(Device device) {
  if (!fast_on_cuda(device)) return {};
  return {cuda::conv2d_forward_with_moments, cuda::conv2d_backward_x_through_norm,
          cuda::conv2d_backward_w_of_norm};
}

const float* normalised(Device device, const ConvShape& s, const float* x, const InputNorm& norm) {
  if (!norm.factor) return x;
  float* z = temporary<Normalised>(device, pixels_in(s) * s.C);
  normalize_forward(device, pixels_in(s), s.C, x, norm, nullptr, z);
  return z;
}

const float* complete(Device device, const ConvShape& s, const OutputGradient& dy) {
  if (!dy.slope) return dy.g;
  float* whole = temporary<WholeGradient>(device, pixels_out(s) * s.K);
  if (!fast_on_cuda(device) || !cuda::complete_gradient(pixels_out(s), s.K, dy, whole))
    for_each_tile(device, pixels_out(s), s.K, CompleteGradient{s.K, dy, whole}, 4);
  return whole;
}

void forward_in_steps(Device device, const ConvShape& s, const float* x, const InputNorm& norm,
                      const float* w, float* y, float* moments, Forward convolve, const WithNorm& with_norm) {
  if (moments && with_norm.forward && with_norm.forward(s, x, norm, w, y, moments)) return;
  convolve(device, s, normalised(device, s, x, norm), w, {}, y);
  if (moments) moments_forward(device, pixels_out(s), s.K, y, moments);
}

void backward_in_steps(Device device, const ConvShape& s, const float* x, const InputNorm& norm,
                       const float* w, const OutputGradient& dy, const NormedGradients& out, BackwardX to_x,
                       BackwardW to_w, const WithNorm& with_norm) {
  const float* g = complete(device, s, dy);
  const float* z = nullptr;
  const auto input = [&] { return z ? z : z = normalised(device, s, x, norm); };
  if (out.dw && !(norm.factor && with_norm.backward_w && with_norm.backward_w(s, x, norm, g, out.dw)))
    to_w(device, s, input(), g, out.dw);
  if (!out.dx) return;
  if (norm.factor && with_norm.backward_x && with_norm.backward_x(s, x, norm, g, w, out.dx, out.sums)) return;
  to_x(device, s, g, w, out.dx);
  if (norm.factor)
    normalize_backward(device, pixels_in(s), s.C, x, norm, input(), out.dx, out.dx, out.sums, nullptr);
}

/// The GPU's depthwise kernels take the norm where they read x, and gather moments and sums where they write.
bool depthwise_forward_on_cuda(const ConvShape& s, const float* x, const InputNorm& norm, const float* w,
                               float* y, float* moments) {
  return moments ? cuda::depthwise_forward_with_moments(s, x, norm, w, y, moments)
                 : cuda::depthwise_forward(s, x, norm, w, {}, y);
}

bool depthwise_backward_on_cuda(const ConvShape& s, const float* x, const InputNorm& norm, const float* w,
                                const OutputGradient& dy, const NormedGradients& out) {
  if (!cuda::takes_depthwise(s)) return false;
  const float* g = complete(Device::kCuda, s, dy);
  if (out.dw && !cuda::depthwise_backward_w(s, x, norm, g, out.dw)) return false;
  if (!out.dx) return true;
  return norm.factor ? cuda::depthwise_backward_x_through_norm(s, x, norm, g, w, out.dx, out.sums)
                     : cuda::depthwise_backward_x(s, g, w, out.dx);
}

}  // namespace

void normed_conv2d_forward(Device device, const ConvShape& s, const float* x, const InputNorm& norm,
                           const float* w, float* y, float* moments) {
  if (fast_on_cpu(device) && cpu::normed_conv2d_forward(s, x, norm, w, {}, y, moments)) return;
  forward_in_steps(device, s, x, norm, w, y, moments, conv2d_forward, dense_with_norm(device));
}

void normed_conv2d_backward(Device device, const ConvShape& s, const float* x, const InputNorm& norm,
                            const float* w, const OutputGradient& dy, const NormedGradients& out) {
  if (fast_on_cpu(device) && cpu::normed_conv2d_backward(s, x, norm, w, dy, out)) return;
  backward_in_steps(device, s, x, norm, w, dy, out, conv2d_backward_x, conv2d_backward_w,
                    dense_with_norm(device));
}

void normed_depthwise_forward(Device device, const ConvShape& s, const float* x, const InputNorm& norm,
                              const float* w, float* y, float* moments) {
  if (fast_on_cpu(device) && cpu::normed_depthwise_forward(s, x, norm, w, {}, y, moments)) return;
  if (fast_on_cuda(device) && depthwise_forward_on_cuda(s, x, norm, w, y, moments)) return;
  forward_in_steps(device, s, x, norm, w, y, moments, depthwise_forward, {});
}

void normed_depthwise_backward(Device device, const ConvShape& s, const float* x, const InputNorm& norm,
                               const float* w, const OutputGradient& dy, const NormedGradients& out) {
  if (fast_on_cpu(device) && cpu::normed_depthwise_backward(s, x, norm, w, dy, out)) return;
  if (fast_on_cuda(device) && depthwise_backward_on_cuda(s, x, norm, w, dy, out)) return;
  backward_in_steps(device, s, x, norm, w, dy, out, depthwise_backward_x, depthwise_backward_w, {});
}

void normalize_forward(Device device, int64_t rows, int channels, const float* x, const InputNorm& norm,
                       const float* residual, float* y) {
  if (fast_on_cpu(device)) return cpu::normalize_forward(rows, channels, x, norm, residual, y);
  if (fast_on_cuda(device) && cuda::normalize_forward(rows, channels, x, norm, residual, y)) return;
  for_each(device, rows * channels, NormalizeForward{channels, x, norm, residual, y});
}

void normalize_backward(Device device, int64_t rows, int channels, const float* x, const InputNorm& norm,
                        const float* y, const float* dy, float* dx, float* sums, float* dresidual) {
  if (fast_on_cpu(device))
    return cpu::normalize_backward(rows, channels, x, norm, y, dy, dx, sums, dresidual);
  if (fast_on_cuda(device) && cuda::normalize_backward(rows, channels, x, norm, y, dy, dx, sums, dresidual))
    return;
  for_each_tile(device, 1, channels, NormalizeSums{rows, channels, x, norm.mean, y, dy, norm.act, sums},
                rows);
  for_each(device, rows * channels,
           NormalizeBackwardX{channels, norm.factor, y, dy, norm.act, dx, dresidual});
}

void moments_forward(Device device, int64_t rows, int channels, const float* x, float* moments) {
  batch_norm_statistics(device, rows, channels, x, moments, moments + channels);
}

}  // namespace espalier::kernels
