#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "kernels/grid.h"
#include "kernels/quantized_lines.h"
#include "kernels/quantized_prepared.h"

namespace espalier::kernels {

PackedCodes::PackedCodes(const ConvShape& s, Code x_code, const int8_t* w, const int32_t* bias,
                         const float* multiplier)
    : apart_(s.S > 1 && s.stride == 1 && s.S * s.K <= 16),
      vectors_((s.K + 15) / 16),
      lines_(s.R),
      groups_(((apart_ ? 1 : s.S) * s.C + 3) / 4) {
  codes_.resize(static_cast<size_t>(vectors_) * lines_ * groups_ * 64);
  bias_.resize(static_cast<size_t>(vectors_) * 16);
  multiplier_.resize(bias_.size());
  for (int k = 0; k < s.K; ++k) {
    int32_t sum = 0;
    int64_t magnitudes = 0;
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t)
        for (int c = 0; c < s.C; ++c) {
          const int8_t code = w[((int64_t{k} * s.R + r) * s.S + t) * s.C + c];
          const int lane = apart_ ? t * s.K + k : k, i = apart_ ? c : t * s.C + c;
          int8_t* vector = codes_.data() + static_cast<size_t>(lane / 16) * lines_ * groups_ * 64;
          vector[(r * groups_ + i / 4) * 64 + lane % 16 * 4 + i % 4] = code;
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

/// Inputs of `lines` lines of neighbouring outputs: filter line r of output i begins at line[r] + i * step,
/// and everything `stride` lines further for each line of outputs.
struct Inputs {
  const uint8_t* const* line;
  int64_t step;
  int stride = 0, lines = 1;
};

/// What becomes of sums: they leave as outputs of K channels.
template <bool kPlain>
struct Outputs {
  const PackedCodes& w;
  const Finish& finish;
  int K;

  __m512i start(int vector) const { return _mm512_loadu_si512(w.bias(vector)); }
  template <int kVectors>
  void put(const __m512i* sum, int vector, int64_t pixel) const {
    const int count = std::min(kVectors * kLanes, K - vector * kLanes);
    const int64_t at = pixel * K + vector * kLanes;
    if constexpr (kPlain)
      finish.store_plain<kVectors, Order::kNatural>(sum, w.multiplier(vector), at, count);
    else
      finish.store<kVectors, Order::kNatural>(sum, w.multiplier(vector), at, count);
  }
};

/// Sums of filter columns apart: K of each column go to a plane of their own, [S][pixels][K] and one vector
/// more.
struct Planes {
  int32_t* to;
  int64_t plane;
  int S, K;

  __m512i start(int) const { return _mm512_setzero_si512(); }
  template <int kVectors>
  void put(const __m512i* sum, int, int64_t pixel) const {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    // Whole vectors: the pixels that follow write over what is not K.
    for (int s = 0; s < S; ++s)
      _mm512_storeu_si512(to + s * plane + pixel * K,
                          _mm512_permutexvar_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(s * K)), sum[0]));
  }
};

constexpr int kMostVectors = 3, kSums = 24;  // of a tile: 3 by 8 runs a quarter faster than 4 by 6

/// kRows outputs, from `first` on, by kVectors * 16 channels, in registers.
template <int kVectors, class Out, int kRows>
void tile(const PackedCodes& w, int vector, const Inputs& inputs, int first, const Out& out, int64_t pixel) {
  __m512i sum[kRows][kVectors];
  const int8_t* codes[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    codes[v] = w.vector(vector + v);
    const __m512i start = out.start(vector + v);
    for (int i = 0; i < kRows; ++i) sum[i][v] = start;
  }
  const int groups = w.groups();
  int64_t next = 0;
  for (int line = 0; line < w.lines(); ++line) {
    const uint8_t* x[kRows];
    for (int i = 0; i < kRows; ++i) x[i] = inputs.line[line] + (first + i) * inputs.step;
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
  for (int i = 0; i < kRows; ++i) out.template put<kVectors>(sum[i], vector, pixel + first + i);
}

template <class Out>
using TileFunction = void (*)(const PackedCodes&, int, const Inputs&, int, const Out&, int64_t);

/// tile<kVectors, Out, i + 1> at place i.
template <int kVectors, class Out, int... i>
constexpr std::array<TileFunction<Out>, sizeof...(i)> tiles(std::integer_sequence<int, i...>) {
  return {tile<kVectors, Out, i + 1>...};
}

/// One column of tiles of nearly equal height: lines of `count` outputs, the first being `pixel`.
template <int kVectors, class Out>
void column(const PackedCodes& w, int vector, Inputs inputs, int count, const Out& out, int64_t pixel) {
  constexpr int kMostRows = kSums / kVectors;
  static constexpr auto kTiles = tiles<kVectors, Out>(std::make_integer_sequence<int, kMostRows>());
  const int parts = (count + kMostRows - 1) / kMostRows;
  for (int line = 0; line < inputs.lines; ++line) {
    for (int i = 0; i < parts; ++i) {
      const Share rows(count, i, parts);
      kTiles[rows.count() - 1](w, vector, inputs, rows.first, out, pixel);
    }
    inputs.line += inputs.stride;
    pixel += count;
  }
}

template <bool kPlain>
void columns(Share vectors, const Inputs& inputs, int count, const Outputs<kPlain>& out, int64_t pixel) {
  const int parts = (vectors.count() + kMostVectors - 1) / kMostVectors;
  for (int i = 0; i < parts; ++i) {
    const Share part(vectors.count(), i, parts);
    const int vector = vectors.first + part.first;
    switch (part.count()) {
      case 1:
        column<1>(out.w, vector, inputs, count, out, pixel);
        break;
      case 2:
        column<2>(out.w, vector, inputs, count, out, pixel);
        break;
      default:
        column<3>(out.w, vector, inputs, count, out, pixel);
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
    columns<kPlain>(vectors, {&line, s.C}, count, {w, finish, s.K}, first);
  }
}

/// Output lines that a column of filters passes before the next, so that filters which no cache near the core
/// holds are not fetched for every line again.
int lines_at_once(const ConvShape& s) {
  constexpr int kBytes = 64 << 10;
  return std::clamp(kBytes / (s.stride * (s.W + s.pad.left + s.pad.right) * s.C), 1, 16);
}

template <bool kPlain>
void run_lines(const ConvShape& s, Code x_code, const PackedCodes& w, Share outputs, Share vectors,
               const Finish& finish, const uint8_t* x) {
  const int most = lines_at_once(s), ring = s.R + (most - 1) * s.stride;
  vnni::PaddedLines padded(s, x_code, x, ring);
  struct Tag {};
  const uint8_t** line = reinterpret_cast<const uint8_t**>(
      scratch<Tag>(static_cast<size_t>(ring) * sizeof(uint8_t*) / sizeof(float)));
  for (int output = outputs.first; output < outputs.last;) {
    const int n = output / s.P(), p = output % s.P();
    const int count = std::min({most, s.P() - p, outputs.last - output});
    for (int i = 0; i < (count - 1) * s.stride + s.R; ++i)
      line[i] = padded.line(n, p * s.stride - s.pad.top + i);
    columns<kPlain>(vectors, {line, int64_t{s.stride} * s.C, s.stride, count}, s.Q(), {w, finish, s.K},
                    int64_t{output} * s.Q());
    output += count;
  }
}

/// Few output channels would leave most lanes of a vector empty: the filter's columns are its lanes too, each
/// pixel is multiplied once instead of S times, and neighbours' sums are added.
template <bool kPlain>
void run_columns_apart(const ConvShape& s, Code x_code, const PackedCodes& w, Share outputs,
                       const Finish& finish, const uint8_t* x) {
  vnni::PaddedLines padded(s, x_code, x, s.R);
  constexpr int kVectors = 4, kStep = kVectors * kLanes;
  const int pixels = s.W + s.pad.left + s.pad.right, length = s.Q() * s.K;
  const int64_t plane = int64_t{pixels} * s.K + kStep, room = (length + kStep - 1) / kStep * kStep;
  struct Tag {};
  auto* sums =
      reinterpret_cast<int32_t*>(scratch<Tag>(static_cast<size_t>(s.S * plane + 2 * room + 2 * s.R)));
  int32_t* bias = sums + s.S * plane;
  auto* multiplier = reinterpret_cast<float*>(bias + room);
  auto* line = reinterpret_cast<const uint8_t**>(multiplier + room);
  for (int i = 0; i < room; ++i) bias[i] = w.bias(0)[i % s.K], multiplier[i] = w.multiplier(0)[i % s.K];
  for (int output = outputs.first; output < outputs.last; ++output) {
    for (int r = 0; r < s.R; ++r) line[r] = padded.line(output / s.P(), output % s.P() - s.pad.top + r);
    column<1>(w, 0, {line, s.C}, pixels, Planes{sums, plane, s.S, s.K}, 0);
    for (int i = 0; i < length; i += kStep) {
      __m512i sum[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        sum[v] = _mm512_loadu_si512(bias + i + v * kLanes);
        for (int t = 0; t < s.S; ++t)
          sum[v] = _mm512_add_epi32(sum[v],
                                    _mm512_loadu_si512(sums + t * plane + int64_t{t} * s.K + i + v * kLanes));
      }
      const int64_t at = int64_t{output} * length + i;
      if constexpr (kPlain)
        finish.store_plain<kVectors, Order::kNatural>(sum, multiplier + i, at, std::min(kStep, length - i));
      else
        finish.store<kVectors, Order::kNatural>(sum, multiplier + i, at, std::min(kStep, length - i));
    }
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
  if (w.columns_apart())
    finish.plain() ? run_columns_apart<true>(s, x_code, w, down, finish, codes)
                   : run_columns_apart<false>(s, x_code, w, down, finish, codes);
  else if (pointwise)
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
