#pragma once
// Depthwise 3x3 convolutions of INT8 codes for the GPU, four channels of a few output pixels a thread, which
// asks for all that it reads before it multiplies. Four neighbouring pixels are four words of channels;
// turned into four words of pixels, each is one instruction's worth of a filter row.

#include "kernels/divisor.h"
#include "kernels/quantized_output.h"

namespace espalier::kernels::tiles {

/// A thread computes kRows x kColumns pixels. Threads in the order channels, columns, rows, images:
/// neighbours read neighbouring memory.
template <bool kUnsigned, int kStride, int kRows>
struct QuantizedDepthwise {
  static constexpr int kFilter = 3, kColumns = 2;
  /// Small blocks spread few threads over all multiprocessors.
  static constexpr int kThreads = kRows == 4 ? 256 : 64, kBlocks = 512 / kThreads, kSharedBytes = 0;
  static constexpr int kLines = (kRows - 1) * kStride + kFilter, kWidth = (kColumns - 1) * kStride + kFilter;

  ConvShape s;
  int P, Q;
  Divisor by_channels, by_columns, by_rows;
  int64_t count;
  const uint8_t* x;
  const uint8_t* w;  ///< [3, 3, C]
  CodeOutput out;

  QuantizedDepthwise(const ConvShape& s, const void* x, const int8_t* w, const CodeOutput& out)
      : s(s),
        P(s.P()),
        Q(s.Q()),
        by_channels(s.C / 4),
        by_columns((Q + kColumns - 1) / kColumns),
        by_rows((P + kRows - 1) / kRows),
        count(int64_t{s.N} * by_rows.divisor * by_columns.divisor * by_channels.divisor),
        x(static_cast<const uint8_t*>(x)),
        w(reinterpret_cast<const uint8_t*>(w)),
        out(out) {}
  int64_t blocks() const { return (count + kThreads - 1) / kThreads; }

  ESPALIER_SIMT void operator()() const {
    const int64_t item = int64_t{warp::block().x} * kThreads + warp::thread();
    if (item >= count) return;
    const int pixel = by_channels.divide(static_cast<int>(item)), line = by_columns.divide(pixel),
              n = by_rows.divide(line);
    const int c = (static_cast<int>(item) - pixel * static_cast<int>(by_channels.divisor)) * 4;
    const int q = (pixel - line * static_cast<int>(by_columns.divisor)) * kColumns;
    const int p = (line - n * static_cast<int>(by_rows.divisor)) * kRows;

    uint32_t seen[kLines][kWidth], taps[kFilter][kFilter];
    load(n, p * kStride - s.pad.top, q * kStride - s.pad.left, c, seen);
    ESPALIER_UNROLL
    for (int r = 0; r < kFilter; ++r) ESPALIER_UNROLL
    for (int t = 0; t < kFilter; ++t) taps[r][t] = word_at(w + (r * kFilter + t) * s.C + c);
    const CodeOutput::Filters filters = out.filters(c);
    const int64_t at = ((int64_t{n} * P + p) * Q + q) * s.C + c;

    uint32_t filter[kFilter][4];  // per channel, taps 0, 1, 2 and a zero
    ESPALIER_UNROLL
    for (int r = 0; r < kFilter; ++r) turn({taps[r][0], taps[r][1], taps[r][2], 0}, filter[r]);
    ESPALIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      int32_t sum[kColumns][4] = {};
      ESPALIER_UNROLL
      for (int r = 0; r < kFilter; ++r) add(seen[i * kStride + r], filter[r], sum);
      ESPALIER_UNROLL
      for (int k = 0; k < kColumns; ++k)
        if (p + i < P && q + k < Q) {
          const int64_t to = at + (i * Q + k) * s.C;
          out.store_four(filters, out.residual(to), to, sum[k]);
        }
    }
  }

 private:
  struct Words {
    uint32_t v[4];
  };

  ESPALIER_SIMT static uint32_t word_at(const uint8_t* p) { return *reinterpret_cast<const uint32_t*>(p); }

  /// out[c], byte i = byte c of in[i].
  ESPALIER_SIMT static void turn(const Words& in, uint32_t (&out)[4]) {
    const uint32_t a = warp::permute_bytes(in.v[0], in.v[1], 0x5140),
                   b = warp::permute_bytes(in.v[2], in.v[3], 0x5140);
    const uint32_t c = warp::permute_bytes(in.v[0], in.v[1], 0x7362),
                   d = warp::permute_bytes(in.v[2], in.v[3], 0x7362);
    out[0] = warp::permute_bytes(a, b, 0x5410);
    out[1] = warp::permute_bytes(a, b, 0x7632);
    out[2] = warp::permute_bytes(c, d, 0x5410);
    out[3] = warp::permute_bytes(c, d, 0x7632);
  }

  /// Zeros beyond the image.
  ESPALIER_SIMT void load(int n, int h, int v, int c, uint32_t (&seen)[kLines][kWidth]) const {
    ESPALIER_UNROLL
    for (int i = 0; i < kLines; ++i) {
      const bool inside = h + i >= 0 && h + i < s.H;
      const uint8_t* line = x + ((int64_t{n} * s.H + h + i) * s.W + v) * s.C + c;
      ESPALIER_UNROLL
      for (int k = 0; k < kWidth; ++k)
        seen[i][k] = inside && v + k >= 0 && v + k < s.W ? word_at(line + k * s.C) : 0;
    }
  }

  /// With stride 1 both columns see the same four pixels, with stride 2 each has its own.
  ESPALIER_SIMT static void add(const uint32_t (&seen)[kWidth], const uint32_t (&filter)[4],
                                int32_t (&sum)[kColumns][4]) {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      constexpr int kLast = kWidth - 1;
      const int first = kStride == 1 ? 0 : k * kStride;
      uint32_t row[4];
      turn({seen[first], seen[first + 1], seen[first + 2], seen[first + 3 < kWidth ? first + 3 : kLast]},
           row);
      ESPALIER_UNROLL
      for (int c = 0; c < 4; ++c)
        sum[k][c] = warp::dot4<kUnsigned>(row[c], kStride == 1 ? filter[c] << (8 * k) : filter[c], sum[k][c]);
    }
  }
};

inline bool takes_depthwise(const ConvShape& s) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return s.R == 3 && s.S == 3 && (s.stride == 1 || s.stride == 2) && s.C % 4 == 0 &&
         int64_t{s.N} * s.P() * s.Q() * (s.C / 4) < kMost && int64_t{s.W} * s.C < kMost;
}

/// Taller threads read less twice, where enough of them are left.
template <class Machine, bool kUnsigned>
void depthwise(Machine& machine, const ConvShape& s, const void* x, const int8_t* w, const CodeOutput& out) {
  constexpr int64_t kFull = 132 * 1024, kSome = 132 * 64;  ///< threads of an H100's multiprocessors
  const auto with_stride = [&]<int kStride>() {
    const auto run = [&](const auto& kernel, int64_t least_threads) {
      if (kernel.count < least_threads) return false;
      machine.launch(kernel, kernel.blocks(), 1);
      return true;
    };
    run(QuantizedDepthwise<kUnsigned, kStride, 4>(s, x, w, out), kFull) ||
        run(QuantizedDepthwise<kUnsigned, kStride, 2>(s, x, w, out), kSome) ||
        run(QuantizedDepthwise<kUnsigned, kStride, 1>(s, x, w, out), 0);
  };
  if (s.stride == 1)
    with_stride.template operator()<1>();
  else
    with_stride.template operator()<2>();
}

}  // namespace espalier::kernels::tiles
