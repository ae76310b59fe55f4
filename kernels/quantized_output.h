#pragma once
// What the GPU's INT8 loops do with their sums, in the arithmetic of quantized_conv2d.h, four neighbouring
// output channels at a time.

#include "kernels/quantized_words.h"

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

  /// What belongs to four columns, of which a loop asks before it has their sums.
  struct Filters {
    int32_t bias[4];
    float multiplier[4];
  };
  ESPALIER_SIMT Filters filters(int column) const {
    Filters f = {};
    if (words && column < columns) {
      const warp::Float4 multiplier = warp::load4(r.multiplier + column);
      warp::Word4 bias = {};
      if (r.bias) bias = warp::load4(reinterpret_cast<const uint32_t*>(r.bias + column));
      ESPALIER_UNROLL
      for (int j = 0; j < 4; ++j) {
        f.bias[j] = static_cast<int32_t>(bias.v[j]);
        f.multiplier[j] = multiplier.v[j];
      }
    }
    return f;
  }
  /// Four codes of the residual, 0 where there is none or columns fill no words.
  ESPALIER_SIMT uint32_t residual(int64_t at) const {
    if (!words || !r.residual) return 0;
    return *reinterpret_cast<const uint32_t*>(static_cast<const uint8_t*>(r.residual) + at);
  }

  /// The epilogue of four sums.
  ESPALIER_SIMT void requantize(const Filters& filters, uint32_t residual, const int32_t (&sum)[4],
                                float (&f)[4]) const {
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j) {
      f[j] = static_cast<float>(sum[j] + filters.bias[j]) * filters.multiplier[j];
      f[j] = f[j] > 0 ? f[j] : r.slope * f[j];
    }
    if (!r.residual) return;
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j)
      f[j] = fmaf(static_cast<float>(code_of(residual, r.residual_code, j)), r.residual_factor, f[j]);
  }

  /// `at` is the place of four columns that fill words.
  ESPALIER_SIMT void store_four(const Filters& filters, uint32_t residual, int64_t at,
                                const int32_t (&sum)[4]) const {
    float f[4];
    requantize(filters, residual, sum, f);
    if (code == Code::kF32)
      warp::store4(static_cast<float*>(y) + at, {{f[0], f[1], f[2], f[3]}});
    else
      *reinterpret_cast<uint32_t*>(static_cast<uint8_t*>(y) + at) = code_word(f, r.low, r.high);
  }
  /// Any columns; `at` is the place of the first.
  ESPALIER_SIMT void store(const Filters& filters, uint32_t residual, int64_t at, int column,
                           const int32_t (&sum)[4]) const {
    if (words)
      store_four(filters, residual, at, sum);
    else
      store_singly(at, column, sum);
  }
  ESPALIER_SIMT void store_singly(int64_t at, int column, const int32_t (&sum)[4]) const {
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j)
      if (column + j < columns) store_requantized(r, sum[j], column + j, at + j, code, y);
  }
  /// Eight columns that exist, of codes, at a multiple of eight.
  ESPALIER_SIMT void store_eight(const Filters (&filters)[2], int64_t at, const int32_t (&sum)[2][4]) const {
    warp::Word2 w;
    ESPALIER_UNROLL
    for (int side = 0; side < 2; ++side) {
      float f[4];
      requantize(filters[side], residual(at + 4 * side), sum[side], f);
      w.v[side] = code_word(f, r.low, r.high);
    }
    *reinterpret_cast<warp::Word2*>(static_cast<uint8_t*>(y) + at) = w;
  }
  bool eights() const { return columns % 8 == 0 && code != Code::kF32; }

  ESPALIER_SIMT void store(int row, int column, const int32_t (&sum)[4]) const {
    const int64_t at = row * columns + column;
    if (!sums) return store(filters(column), residual(at), at, column, sum);
    int32_t* to = sums + warp::block().z * part_elements + at;
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j)
      if (column + j < columns) to[j] = sum[j];
  }
};

}  // namespace espalier::kernels::tiles
