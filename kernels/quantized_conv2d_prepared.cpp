#include <algorithm>
#include <cmath>

#include "kernels/grid.h"
#include "kernels/quantized_lines.h"
#include "kernels/quantized_prepared.h"

namespace espalier::kernels {

PackedCodes::PackedCodes(const ConvShape& s, Code x_code, const int8_t* w, const int32_t* bias,
                         const float* multiplier)
    : vectors_((s.K + 15) / 16), lines_(s.R), groups_((s.S * s.C + 3) / 4) {
  const int per_line = s.S * s.C;
  codes_.resize(static_cast<size_t>(vectors_) * lines_ * groups_ * 64);
  bias_.resize(static_cast<size_t>(vectors_) * 16);
  multiplier_.resize(bias_.size());
  for (int k = 0; k < s.K; ++k) {
    int8_t* vector = codes_.data() + static_cast<size_t>(k / 16) * lines_ * groups_ * 64;
    int32_t sum = 0;
    int64_t magnitudes = 0;
    for (int r = 0; r < s.R; ++r)
      for (int i = 0; i < per_line; ++i) {
        const int8_t code = w[(int64_t{k} * s.R + r) * per_line + i];
        vector[(r * groups_ + i / 4) * 64 + k % 16 * 4 + i % 4] = code;
        sum += code;
        magnitudes += std::abs(code);
      }
    bias_[k] = (bias ? bias[k] : 0) - (x_code == Code::kS8 ? 128 * sum : 0);
    multiplier_[k] = multiplier[k];
    const double bound =
        (255.0 * static_cast<double>(magnitudes) + std::abs(bias ? static_cast<double>(bias[k]) : 0.0)) *
        std::abs(double{multiplier[k]});
    if (!(bound <= largest_)) largest_ = bound;  // NaN stays
  }
}

#ifdef ESPALIER_VNNI

namespace {

using vnni::Finish;
using vnni::kLanes;
using vnni::Order;

/// Inputs of neighbouring outputs: filter line r of output i begins at line[r] + i * step.
struct Inputs {
  const uint8_t* const* line;
  int64_t step;
};

constexpr int kMostVectors = 4, kSums = 24;  // of a tile; with filters and an input they fill the registers

/// kRows outputs by kVectors * 16 channels in registers. Rows past `rows` repeat the last one.
template <int kRows, int kVectors, bool kPlain>
void tile(const PackedCodes& w, int vector, const Inputs& inputs, int first, int rows, const Finish& finish,
          int64_t at, int K) {
  __m512i sum[kRows][kVectors];
  const int8_t* codes[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    codes[v] = w.vector(vector + v);
    const __m512i bias = _mm512_loadu_si512(w.bias(vector + v));
    for (int i = 0; i < kRows; ++i) sum[i][v] = bias;
  }
  const int groups = w.groups();
  int64_t next = 0;
  for (int line = 0; line < w.lines(); ++line) {
    const uint8_t* x[kRows];
    for (int i = 0; i < kRows; ++i) x[i] = inputs.line[line] + (first + std::min(i, rows - 1)) * inputs.step;
    for (int g = 0; g < groups; ++g, next += 64) {
      __m512i filter[kVectors];
      for (int v = 0; v < kVectors; ++v) filter[v] = _mm512_loadu_si512(codes[v] + next);
      for (int i = 0; i < kRows; ++i) {
        int32_t four;
        std::memcpy(&four, x[i] + g * 4, 4);
        const __m512i input = _mm512_set1_epi32(four);
        for (int v = 0; v < kVectors; ++v) sum[i][v] = _mm512_dpbusd_epi32(sum[i][v], input, filter[v]);
      }
    }
  }
  const int count = std::min(kVectors * kLanes, K - vector * kLanes);
  at += int64_t{first} * K + vector * kLanes;
  for (int i = 0; i < rows; ++i, at += K)
    if constexpr (kPlain)
      finish.store_plain<kVectors, Order::kNatural>(sum[i], w.multiplier(vector), at, count);
    else
      finish.store<kVectors, Order::kNatural>(sum[i], w.multiplier(vector), at, count);
}

/// One column of tiles: `count` outputs, the first at element `at` of y.
template <int kVectors, bool kPlain>
void column(const PackedCodes& w, int vector, const Inputs& inputs, int count, const Finish& finish,
            int64_t at, int K) {
  constexpr int kRows = kSums / kVectors, kHalf = kRows / 2;
  int first = 0;
  for (; count - first > kHalf; first += kRows)
    tile<kRows, kVectors, kPlain>(w, vector, inputs, first, std::min(kRows, count - first), finish, at, K);
  if (count - first > 1)
    tile<kHalf, kVectors, kPlain>(w, vector, inputs, first, count - first, finish, at, K);
  else if (count > first)
    tile<1, kVectors, kPlain>(w, vector, inputs, first, 1, finish, at, K);
}

template <bool kPlain>
void columns(const PackedCodes& w, Share vectors, const Inputs& inputs, int count, const Finish& finish,
             int64_t at, int K) {
  const int parts = (vectors.count() + kMostVectors - 1) / kMostVectors;
  for (int i = 0; i < parts; ++i) {
    const Share part(vectors.count(), i, parts);
    const int vector = vectors.first + part.first;
    switch (part.count()) {
      case 1:
        column<1, kPlain>(w, vector, inputs, count, finish, at, K);
        break;
      case 2:
        column<2, kPlain>(w, vector, inputs, count, finish, at, K);
        break;
      case 3:
        column<3, kPlain>(w, vector, inputs, count, finish, at, K);
        break;
      default:
        column<4, kPlain>(w, vector, inputs, count, finish, at, K);
    }
  }
}

/// A 1x1 convolution whose inputs can be read where they are: one long line.
bool is_pointwise(const ConvShape& s) {
  return s.R == 1 && s.S == 1 && s.stride == 1 && s.pad == Padding{} && s.C % 4 == 0;
}

template <bool kPlain>
void run_pointwise(const ConvShape& s, Code x_code, const PackedCodes& w, Share outputs, Share vectors,
                   const Finish& finish, const uint8_t* x) {
  // So much that a column's filters are worth fetching, and that stays in the first-level cache.
  const int most = std::max(48, (16 << 10) / s.C);
  const bool is_signed = x_code == Code::kS8;
  struct Tag {};
  uint8_t* copy =
      is_signed ? reinterpret_cast<uint8_t*>(scratch<Tag>(static_cast<size_t>(most) * s.C / sizeof(float)))
                : nullptr;
  for (int first = outputs.first; first < outputs.last; first += most) {
    const int count = std::min(most, outputs.last - first);
    const uint8_t* line = x + int64_t{first} * s.C;
    if (is_signed) {
      vnni::copy_codes(copy, line, int64_t{count} * s.C, true);
      line = copy;
    }
    columns<kPlain>(w, vectors, {&line, s.C}, count, finish, int64_t{first} * s.K, s.K);
  }
}

template <bool kPlain>
void run_lines(const ConvShape& s, Code x_code, const PackedCodes& w, Share outputs, Share vectors,
               const Finish& finish, const uint8_t* x) {
  vnni::PaddedLines padded(s, x_code, x, s.R);
  struct Tag {};
  // As many pointers as the filter has lines.
  const uint8_t** line = reinterpret_cast<const uint8_t**>(
      scratch<Tag>(static_cast<size_t>(s.R) * sizeof(uint8_t*) / sizeof(float)));
  for (int output = outputs.first; output < outputs.last; ++output) {
    const int n = output / s.P(), top = output % s.P() * s.stride - s.pad.top;
    for (int r = 0; r < s.R; ++r) line[r] = padded.line(n, top + r);
    columns<kPlain>(w, vectors, {line, int64_t{s.stride} * s.C}, s.Q(), finish, int64_t{output} * s.Q() * s.K,
                    s.K);
  }
}

}  // namespace

void quantized_conv2d_prepared(const ConvShape& s, Code x_code, const PackedCodes& w, const Requantize& r,
                               Code y_code, const void* x, void* y, const Team& team) {
  const bool pointwise = is_pointwise(s);
  const int rows = s.N * s.P() * (pointwise ? s.Q() : 1);
  const double pixels = pointwise ? 1 : s.Q(), length = static_cast<double>(w.lines()) * w.groups();
  const Grid grid = choose_grid(team.threads, rows, w.vectors(),
                                {pixels * (length / 2 + 4), pixels * length / 4, length * 2});
  const Share down = grid.rows(team, rows), across = grid.columns(team, w.vectors());
  if (down.count() <= 0 || across.count() <= 0) return;
  const Finish finish(r, w.largest(), y_code, y);
  const auto* codes = static_cast<const uint8_t*>(x);
  if (pointwise)
    finish.plain() ? run_pointwise<true>(s, x_code, w, down, across, finish, codes)
                   : run_pointwise<false>(s, x_code, w, down, across, finish, codes);
  else
    finish.plain() ? run_lines<true>(s, x_code, w, down, across, finish, codes)
                   : run_lines<false>(s, x_code, w, down, across, finish, codes);
}

#else

void quantized_conv2d_prepared(const ConvShape&, Code, const PackedCodes&, const Requantize&, Code,
                               const void*, void*, const Team&) {}

#endif

}  // namespace espalier::kernels
