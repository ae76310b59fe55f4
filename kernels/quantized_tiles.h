#pragma once
// INT8 convolutions of the GPU, in the arithmetic of quantized_conv2d.h: dense ones on the tensor cores,
// depthwise ones with four products an instruction. Sums are exact, so any order gives the shared body's
// bits.

#include "kernels/conv2d_tiles.h"
#include "kernels/depthwise_passes.h"
#include "kernels/quantized_body.h"

namespace espalier::kernels::tiles {

/// Requantises and stores codes or floats; with `sums` it keeps a part's exact sums instead.
struct CodeOutput {
  static constexpr bool kReduces = false;
  Requantize r;
  int64_t columns;
  int64_t part_elements;
  bool words;  ///< columns fill whole words
  Code code;
  void* y;
  int32_t* sums;

  ESPALIER_SIMT void store(int row, int column, const int32_t (&sum)[4]) const {
    const int64_t at = row * columns + column;
    const int64_t n = columns - column;
    if (sums) {
      ESPALIER_UNROLL
      for (int j = 0; j < 4; ++j)
        if (j < n) sums[warp::block().z * part_elements + at + j] = sum[j];
    } else if (words && code != Code::kF32) {
      store_word(at, column, sum);
    } else {
      ESPALIER_UNROLL
      for (int j = 0; j < 4; ++j)
        if (j < n) store_requantized(r, sum[j], column + j, at + j, code, y);
    }
  }
  /// Four codes at once, at a multiple of four.
  ESPALIER_SIMT void store_word(int64_t at, int column, const int32_t (&sum)[4]) const {
    uint32_t word = 0;
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j)
      word |= static_cast<uint32_t>(to_code(requantized(r, sum[j], column + j, at + j), r.low, r.high) & 0xff)
              << (8 * j);
    *reinterpret_cast<uint32_t*>(static_cast<uint8_t*>(y) + at) = word;
  }
};

/// Adds up the parts and requantises. One row is one row of y.
struct FinishCodes {
  int parts;
  int64_t part_elements;
  int columns;
  const int32_t* sums;
  Requantize r;
  Code code;
  void* y;
  template <int T>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    for (int c = c0; c < c0 + n; ++c) {
      const int64_t at = row * columns + c;
      int32_t sum = 0;
      for (int part = 0; part < parts; ++part) sum += sums[part * part_elements + at];
      store_requantized(r, sum, c, at, code, y);
    }
  }
};

template <class Machine, class Math>
struct QuantizedConv2d {
  Machine& machine;
  const ConvShape& s;
  const void* x;
  const int8_t* w;
  const Requantize& r;
  Code code;
  void* y;

  void run() const {
    const int64_t rows = int64_t{s.N} * s.P() * s.Q();
    if (s.C % 4)
      with<Small, 0>();
    else if (s.C % 16)
      with<Small, 4>();
    else if (usual_tile(rows, s.K) == TileName::kNarrow)
      with<Narrow, 16>();
    else if (usual_tile(rows, s.K) == TileName::kSmall)
      with<Small, 16>();
    else
      with<Medium, 16>();
  }

  template <class Tile, int kUnit>
  void with() const {
    using Kernel = ImplicitGemm<Math, Tile, kUnit, CodeOutput>;
    const int64_t rows = int64_t{s.N} * s.P() * s.Q(), elements = rows * s.K;
    const int64_t blocks = tiles_of(rows, s.K, Tile::kM, Tile::kN);
    constexpr int kStep = Kernel::kWords * Math::kPerWord;
    const Parts parts = parts_of(blocks, (int64_t{s.R} * s.S * s.C + kStep - 1) / kStep, kLeastSteps);
    int32_t* sums =
        parts.count > 1 ? reinterpret_cast<int32_t*>(machine.scratch(parts.count * elements)) : nullptr;
    const CodeOutput out{r, s.K, elements, s.K % 4 == 0, code, y, sums};
    machine.launch(Kernel{forward_gather(s), s.K, (s.K + Tile::kN - 1) / Tile::kN, parts.steps, x, w, out},
                   blocks, parts.count);
    if (sums) machine.for_each_row(rows, s.K, FinishCodes{parts.count, elements, s.K, sums, r, code, y});
  }
};

/// Depthwise 3x3, four channels of a strip a thread, as in depthwise_strips.h. Four neighbouring pixels are
/// four words of channels; turned into four words of pixels, each is one instruction's worth of a filter row.
template <bool kUnsigned, int kStride>
struct QuantizedDepthwise {
  static constexpr int kThreads = 256, kBlocks = 2, kSharedBytes = 0;
  static constexpr int kFilter = strips::kFilter, kColumns = strips::kColumns, kPixels = 4;
  /// With stride 1 both columns see the same four pixels, with stride 2 each has its own.
  static constexpr int kGroups = kStride == 1 ? 1 : kColumns;

  strips::Strips strips;
  ConvShape s;
  const uint8_t* x;
  const int8_t* w;
  CodeOutput out;

  ESPALIER_SIMT void operator()() const {
    const strips::Strip strip = strips.at(warp::block().x * kThreads + warp::thread());
    if (!strip.valid) return;
    uint32_t filter[kFilter][4];  // per channel, taps 0, 1, 2 and a zero
    ESPALIER_UNROLL
    for (int r = 0; r < kFilter; ++r) {
      uint32_t taps[kPixels] = {};
      for (int t = 0; t < kFilter; ++t)
        taps[t] = *reinterpret_cast<const uint32_t*>(w + (r * kFilter + t) * s.C + strip.c);
      turn(taps, filter[r]);
    }
    const int P = s.P(), end = strip.row + strips.length < P ? strip.row + strips.length : P;
    const int first = strip.row * kStride - s.pad.top;
    int32_t oldest[kColumns][4] = {}, middle[kColumns][4] = {}, newest[kColumns][4] = {};
    uint32_t row[kGroups][4];
    if constexpr (kStride == 1) {
      for (int i = 0; i < end - strip.row + kFilter - 1; ++i) {
        load(strip, first + i, row);
        add(row, filter[2], oldest);
        add(row, filter[1], middle);
        clear(newest);
        add(row, filter[0], newest);
        if (i >= kFilter - 1) store(strip, strip.row + i - (kFilter - 1), oldest);
        move(middle, oldest);
        move(newest, middle);
      }
    } else {
      load(strip, first, row);
      for (int p = strip.row; p < end; ++p) {
        clear(newest);
        add(row, filter[0], newest);
        load(strip, first + (p - strip.row) * kStride + 1, row);
        add(row, filter[1], newest);
        load(strip, first + (p - strip.row) * kStride + 2, row);
        add(row, filter[2], newest);
        store(strip, p, newest);
      }
    }
  }

 private:
  /// out[c], byte i = byte c of in[i].
  ESPALIER_SIMT static void turn(const uint32_t (&in)[kPixels], uint32_t (&out)[4]) {
    const uint32_t a = warp::permute_bytes(in[0], in[1], 0x5140),
                   b = warp::permute_bytes(in[2], in[3], 0x5140);
    const uint32_t c = warp::permute_bytes(in[0], in[1], 0x7362),
                   d = warp::permute_bytes(in[2], in[3], 0x7362);
    out[0] = warp::permute_bytes(a, b, 0x5410);
    out[1] = warp::permute_bytes(a, b, 0x7632);
    out[2] = warp::permute_bytes(c, d, 0x5410);
    out[3] = warp::permute_bytes(c, d, 0x7632);
  }

  ESPALIER_SIMT void load(const strips::Strip& strip, int h, uint32_t (&row)[kGroups][4]) const {
    const bool inside = h >= 0 && h < s.H;
    const uint8_t* line = x + ((int64_t{strip.n} * s.H + (inside ? h : 0)) * s.W) * s.C + strip.c;
    ESPALIER_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      uint32_t pixels[kPixels];
      const int v = (strip.column + g) * kStride - s.pad.left;
      ESPALIER_UNROLL
      for (int i = 0; i < kPixels; ++i)
        pixels[i] = inside && v + i >= 0 && v + i < s.W
                        ? *reinterpret_cast<const uint32_t*>(line + int64_t{v + i} * s.C)
                        : 0;
      turn(pixels, row[g]);
    }
  }

  ESPALIER_SIMT static void add(const uint32_t (&row)[kGroups][4], const uint32_t (&filter)[4],
                                int32_t (&sum)[kColumns][4]) {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) ESPALIER_UNROLL
    for (int c = 0; c < 4; ++c)
      sum[k][c] = warp::dot4<kUnsigned>(row[kGroups == 1 ? 0 : k][c],
                                        kGroups == 1 ? filter[c] << (8 * k) : filter[c], sum[k][c]);
  }
  ESPALIER_SIMT static void clear(int32_t (&sum)[kColumns][4]) {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) ESPALIER_UNROLL
    for (int c = 0; c < 4; ++c) sum[k][c] = 0;
  }
  ESPALIER_SIMT static void move(const int32_t (&from)[kColumns][4], int32_t (&to)[kColumns][4]) {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) ESPALIER_UNROLL
    for (int c = 0; c < 4; ++c) to[k][c] = from[k][c];
  }
  ESPALIER_SIMT void store(const strips::Strip& strip, int p, const int32_t (&sum)[kColumns][4]) const {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k)
      if (strip.column + k < s.Q())
        out.store((strip.n * s.P() + p) * s.Q() + strip.column + k, strip.c, sum[k]);
  }
};

/// Sizes and types that the loops take.
inline bool takes_quantized(const ConvShape& s, Code x_code) { return x_code != Code::kF32 && fits(s); }
inline bool takes_quantized_depthwise(const ConvShape& s, Code x_code) {
  return takes_quantized(s, x_code) && strips::takes(s);
}

template <class Machine>
void quantized_conv2d(Machine& machine, const ConvShape& s, Code x_code, const void* x, const int8_t* w,
                      const Requantize& r, Code y_code, void* y) {
  if (x_code == Code::kU8)
    QuantizedConv2d<Machine, tensor_core::U8>{machine, s, x, w, r, y_code, y}.run();
  else
    QuantizedConv2d<Machine, tensor_core::S8>{machine, s, x, w, r, y_code, y}.run();
}

template <class Machine>
void quantized_depthwise(Machine& machine, const ConvShape& s, Code x_code, const void* x, const int8_t* w,
                         const Requantize& r, Code y_code, void* y) {
  const strips::Strips over(s.C, s.Q(), s.P(), s.N, strips::strip_length(s.C, s.Q(), s.P(), s.N));
  const CodeOutput out{r, s.C, 0, true, y_code, y, nullptr};
  const auto run = [&](auto kernel) { machine.launch(kernel, strips::blocks_of(over, kernel.kThreads), 1); };
  const auto* codes = static_cast<const uint8_t*>(x);
  if (x_code == Code::kU8 && s.stride == 1)
    run(QuantizedDepthwise<true, 1>{over, s, codes, w, out});
  else if (x_code == Code::kU8)
    run(QuantizedDepthwise<true, 2>{over, s, codes, w, out});
  else if (s.stride == 1)
    run(QuantizedDepthwise<false, 1>{over, s, codes, w, out});
  else
    run(QuantizedDepthwise<false, 2>{over, s, codes, w, out});
}

}  // namespace espalier::kernels::tiles
