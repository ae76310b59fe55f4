// Depthwise convolution for training. Forward and the gradient of stride 1, which is a forward with the
// filter turned round, run the inference kernel; strided data gradients and filter gradients are here.

#include <omp.h>

#include <algorithm>
#include <vector>

#include "kernels/depthwise_cpu.h"
#include "kernels/depthwise_prepared.h"
#include "kernels/simd.h"

namespace espalier::kernels {

namespace {

using simd::kLanes;
using simd::Vector;

void run_prepared(const ConvShape& s, Activation act, const PaddedFilters& w, const float* x,
                  const float* residual, float* y) {
  Barrier barrier;
#pragma omp parallel
  depthwise_prepared(s, act, w, x, residual, y, Team{omp_get_thread_num(), omp_get_num_threads(), &barrier});
}

/// Loads and stores the n <= kLanes channels of a block.
Vector load(const float* p, int n) { return n == kLanes ? simd::load(p) : simd::load(p, n); }
void store(float* p, Vector v, int n) { n == kLanes ? simd::store(p, v) : simd::store(p, v, n); }

/// One row of dx by gathering: each input pixel asks which outputs it went into.
void backward_x_row(const ConvShape& s, const float* dy, const float* w, int image, int h, float* dx) {
  const int P = s.P(), Q = s.Q();
  for (int c0 = 0; c0 < s.C; c0 += kLanes) {
    const int n = std::min(kLanes, s.C - c0);
    for (int v = 0; v < s.W; ++v) {
      Vector sum = simd::zero();
      for (int r = (h + s.pad.top) % s.stride; r < s.R; r += s.stride) {
        const int p = (h + s.pad.top - r) / s.stride;
        if (h + s.pad.top < r || p >= P) continue;
        for (int t = (v + s.pad.left) % s.stride; t < s.S; t += s.stride) {
          const int q = (v + s.pad.left - t) / s.stride;
          if (v + s.pad.left < t || q >= Q) continue;
          sum = simd::fma(load(dy + ((int64_t{image} * P + p) * Q + q) * s.C + c0, n),
                          load(w + (r * s.S + t) * s.C + c0, n), sum);
        }
      }
      store(dx + ((int64_t{image} * s.H + h) * s.W + v) * s.C + c0, sum, n);
    }
  }
}

/// Adds one output row's share to sum[R*S][C]. The sums of one filter row and one block of channels stay in
/// registers.
template <int S>
void backward_w_row(const ConvShape& s, const float* x, const float* dy, int c0, int n, float* sum) {
  const int Q = s.Q();
  // Outputs whose whole window lies inside the image need no checks.
  const int first = std::min(Q, (s.pad.left + s.stride - 1) / s.stride);
  const int last = std::max(first, std::min(Q, (s.W + s.pad.left - S) / s.stride + 1));
  Vector total[S];
  for (int t = 0; t < S; ++t) total[t] = load(sum + t * s.C + c0, n);
  const auto edge = [&](int q) {
    const Vector g = load(dy + static_cast<int64_t>(q) * s.C + c0, n);
    for (int t = 0; t < S; ++t) {
      const int v = q * s.stride - s.pad.left + t;
      if (v >= 0 && v < s.W)
        total[t] = simd::fma(g, load(x + static_cast<int64_t>(v) * s.C + c0, n), total[t]);
    }
  };
  for (int q = 0; q < first; ++q) edge(q);
  for (int q = first; q < last; ++q) {
    const Vector g = load(dy + static_cast<int64_t>(q) * s.C + c0, n);
    const float* in = x + static_cast<int64_t>(q * s.stride - s.pad.left) * s.C + c0;
    for (int t = 0; t < S; ++t)
      total[t] = simd::fma(g, load(in + static_cast<int64_t>(t) * s.C, n), total[t]);
  }
  for (int q = last; q < Q; ++q) edge(q);
  for (int t = 0; t < S; ++t) store(sum + t * s.C + c0, total[t], n);
}

/// The same for filters of any width.
void backward_w_row_any(const ConvShape& s, const float* x, const float* dy, int c0, int n, float* sum) {
  for (int q = 0; q < s.Q(); ++q) {
    const Vector g = load(dy + static_cast<int64_t>(q) * s.C + c0, n);
    for (int t = 0; t < s.S; ++t) {
      const int v = q * s.stride - s.pad.left + t;
      if (v < 0 || v >= s.W) continue;
      float* at = sum + t * s.C + c0;
      store(at, simd::fma(g, load(x + static_cast<int64_t>(v) * s.C + c0, n), load(at, n)), n);
    }
  }
}

}  // namespace

namespace cpu {

bool depthwise_forward(const ConvShape& s, const float* x, const float* w, const Epilogue& e, float* y) {
  run_prepared(s, e.act, PaddedFilters(w, e.bias, s.R, s.S, s.C), x, e.residual, y);
  return true;
}

bool depthwise_backward_x(const ConvShape& s, const float* dy, const float* w, float* dx) {
  const Padding turned{s.R - 1 - s.pad.top, s.S - 1 - s.pad.left, s.H - s.P() + s.pad.top,
                       s.W - s.Q() + s.pad.left};
  if (s.stride == 1 && turned.top >= 0 && turned.left >= 0 && turned.bottom >= 0 && turned.right >= 0) {
    std::vector<float> flipped(static_cast<size_t>(s.R) * s.S * s.C);
    for (int i = 0; i < s.R * s.S; ++i)
      std::copy_n(w + (s.R * s.S - 1 - i) * s.C, s.C, flipped.data() + i * s.C);
    const ConvShape back{s.N, s.P(), s.Q(), s.C, s.C, s.R, s.S, 1, turned};
    run_prepared(back, Activation::none(), PaddedFilters(flipped.data(), nullptr, s.R, s.S, s.C), dy, nullptr,
                 dx);
    return true;
  }
#pragma omp parallel for schedule(static)
  for (int row = 0; row < s.N * s.H; ++row) backward_x_row(s, dy, w, row / s.H, row % s.H, dx);
  return true;
}

bool depthwise_backward_w(const ConvShape& s, const float* x, const float* dy, float* dw) {
  // Output rows are summed in parts whose number does not depend on the threads, then the parts in order.
  constexpr int kMostParts = 64;
  const int P = s.P(), rows = s.N * P, parts = std::min(kMostParts, rows), size = s.R * s.S * s.C;
  std::vector<float> sums(static_cast<size_t>(parts) * size);
#pragma omp parallel for schedule(static)
  for (int part = 0; part < parts; ++part) {
    float* sum = sums.data() + static_cast<size_t>(part) * size;
    const int first = static_cast<int>(int64_t{rows} * part / parts),
              last = static_cast<int>(int64_t{rows} * (part + 1) / parts);
    for (int row = first; row < last; ++row) {
      const int image = row / P, p = row % P;
      const float* g = dy + static_cast<int64_t>(row) * s.Q() * s.C;
      for (int c0 = 0; c0 < s.C; c0 += kLanes) {
        const int n = std::min(kLanes, s.C - c0);
        for (int r = 0; r < s.R; ++r) {
          const int h = p * s.stride - s.pad.top + r;
          if (h < 0 || h >= s.H) continue;
          const float* in = x + (int64_t{image} * s.H + h) * s.W * s.C;
          float* at = sum + r * s.S * s.C;
          if (s.S == 3)
            backward_w_row<3>(s, in, g, c0, n, at);
          else
            backward_w_row_any(s, in, g, c0, n, at);
        }
      }
    }
  }
#pragma omp parallel for schedule(static)
  for (int i = 0; i < size; ++i) {
    float total = 0;
    for (int part = 0; part < parts; ++part) total += sums[static_cast<size_t>(part) * size + i];
    dw[i] = total;
  }
  return true;
}

}  // namespace cpu
}  // namespace espalier::kernels
