#pragma once
// Pooling and resizing of INT8 codes for the GPU, as many neighbouring channels a thread as one load brings,
// bit for bit the shared bodies'.

#include "kernels/divisor.h"
#include "kernels/pixel_maps.h"
#include "kernels/quantized_words.h"

namespace espalier::kernels::pixels {

/// kWords words of codes, read and written with one access.
template <int kWords>
struct alignas(4 * kWords) CodeWords {
  uint32_t v[kWords];

  ESPALIER_SIMT static CodeWords at(const uint8_t* p) { return *reinterpret_cast<const CodeWords*>(p); }
  ESPALIER_SIMT void store(uint8_t* p) const { *reinterpret_cast<CodeWords*>(p) = *this; }
};

/// Where a row of results lies: one row is one output pixel.
struct OutputPixels {
  Divisor by_columns, by_rows;
  OutputPixels(int P, int Q) : by_columns(Q), by_rows(P) {}
  struct Place {
    int n, p, q;
  };
  ESPALIER_SIMT Place at(int row) const {
    const int line = by_columns.divide(row), n = by_rows.divide(line);
    return {n, line - n * static_cast<int>(by_rows.divisor),
            row - line * static_cast<int>(by_columns.divisor)};
  }
};

template <int kWords>
struct MaxPoolCodes {
  static constexpr int kCodes = 4 * kWords;

  ConvShape s;
  OutputPixels outputs;
  Code code;
  const uint8_t* x;
  uint8_t* y;

  MaxPoolCodes(const ConvShape& s, Code code, const void* x, void* y)
      : s(s),
        outputs(s.P(), s.Q()),
        code(code),
        x(static_cast<const uint8_t*>(x)),
        y(static_cast<uint8_t*>(y)) {}
  int64_t rows() const { return int64_t{s.N} * s.P() * s.Q(); }

  ESPALIER_SIMT void run(int row, int unit) const {
    const auto [n, p, q] = outputs.at(row);
    const uint8_t* image = x + int64_t{n} * s.H * s.W * s.C + unit * kCodes;
    const int h = p * s.stride - s.pad.top, v = q * s.stride - s.pad.left;
    const int top = h > 0 ? h : 0, bottom = h + s.R < s.H ? h + s.R : s.H;
    const int left = v > 0 ? v : 0, right = v + s.S < s.W ? v + s.S : s.W;
    int best[kCodes];
    ESPALIER_UNROLL
    for (int k = 0; k < kCodes; ++k) best[k] = -1000;  // below every code
    for (int i = top; i < bottom; ++i) ESPALIER_UNROLL_BY_4
    for (int j = left; j < right; ++j) {
      const auto words = CodeWords<kWords>::at(image + (int64_t{i} * s.W + j) * s.C);
      ESPALIER_UNROLL
      for (int k = 0; k < kCodes; ++k) {
        const int here = code_of(words.v[k / 4], code, k % 4);
        best[k] = here > best[k] ? here : best[k];
      }
    }
    CodeWords<kWords> out = {};
    ESPALIER_UNROLL
    for (int k = 0; k < kCodes; ++k) out.v[k / 4] |= static_cast<uint32_t>(best[k] & 0xff) << (k % 4 * 8);
    out.store(y + int64_t{row} * s.C + unit * kCodes);
  }
};

template <int kWords>
struct ResizeCodes {
  static constexpr int kCodes = 4 * kWords;

  ResizeShape s;
  OutputPixels outputs;
  Code code;
  const uint8_t* x;
  uint8_t* y;

  ResizeCodes(const ResizeShape& s, Code code, const void* x, void* y)
      : s(s), outputs(s.P, s.Q), code(code), x(static_cast<const uint8_t*>(x)), y(static_cast<uint8_t*>(y)) {}
  int64_t rows() const { return int64_t{s.N} * s.P * s.Q; }

  ESPALIER_SIMT void run(int row, int unit) const {
    using Words = CodeWords<kWords>;
    const auto [n, p, q] = outputs.at(row);
    const Source h = source(s.sampling, p, s.H, s.P), v = source(s.sampling, q, s.W, s.Q);
    const uint8_t* image = x + int64_t{n} * s.H * s.W * s.C + unit * kCodes;
    const auto at = [&](int i, int j) { return Words::at(image + (int64_t{i} * s.W + j) * s.C); };
    Words out = at(h.low, v.low);
    if (s.sampling != Sampling::kNearest) {
      const Words a = out, b = at(h.low, v.high), d = at(h.high, v.low), e = at(h.high, v.high);
      ESPALIER_UNROLL
      for (int i = 0; i < kWords; ++i) {
        float mixed[4];
        ESPALIER_UNROLL
        for (int k = 0; k < 4; ++k) {
          const auto f = [&](const Words& w) { return static_cast<float>(code_of(w.v[i], code, k)); };
          mixed[k] = mix_codes(f(a), f(b), f(d), f(e), v.f, h.f);
        }
        out.v[i] = code_word(mixed, -128, 255);  // what is mixed lies between codes
      }
    }
    out.store(y + int64_t{row} * s.C + unit * kCodes);
  }
};

/// Runs Map<4> or Map<1>, made of the arguments, whose channels fill its units.
template <template <int> class Map, class Machine, class Shape>
bool run_codes(Machine& machine, const Shape& s, Code code, const void* x, void* y) {
  const auto with = [&](const auto& map) {
    if (s.C % map.kCodes || !fits(map.rows(), s.C / map.kCodes)) return false;
    for_each_unit(machine, map.rows(), s.C / map.kCodes, map);
    return true;
  };
  return code != Code::kF32 && (with(Map<4>(s, code, x, y)) || with(Map<1>(s, code, x, y)));
}

}  // namespace espalier::kernels::pixels
