#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "kernels/grid.h"
#include "kernels/quantized_lines.h"
#include "kernels/quantized_prepared.h"
#include "kernels/quantized_tile.h"
#include "kernels/quantized_winograd.h"

namespace espalier::kernels {

using int8::Filter;
using int8::kBlock;
using int8::kGroup;
using int8::kLanes;
using int8::kOffset;

PackedCodes::PackedCodes(const ConvShape& s, Code x_code, const int8_t* w, const int32_t* bias,
                         const float* multiplier)
    : apart_(s.S > 1 && s.stride == 1 && s.S * s.K <= kLanes),
      winograd_(quantized_winograd_suits(s)),
      vectors_((s.K + kLanes - 1) / kLanes),
      lines_(winograd_ ? kWinogradPoints : s.R),
      groups_(((apart_ || winograd_ ? 1 : s.S) * s.C + kGroup - 1) / kGroup) {
  codes_.resize(static_cast<size_t>(vectors_) * lines_ * groups_ * kBlock);
  bias_.resize(static_cast<size_t>(vectors_) * kLanes);
  multiplier_.resize(bias_.size());
  // Code i of a line of the filter of an output channel, or of a column of it.
  const auto at = [&](int lane, int line, int i) -> Filter& {
    Filter* vector = codes_.data() + static_cast<size_t>(lane / kLanes) * lines_ * groups_ * kBlock;
    return vector[(line * groups_ + i / kGroup) * kBlock + lane % kLanes * kGroup + i % kGroup];
  };
  for (int k = 0; k < s.K; ++k) {
    const int8_t* filter = w + int64_t{k} * s.R * s.S * s.C;
    int32_t sum = 0;
    int64_t magnitudes = 0;
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t)
        for (int c = 0; c < s.C; ++c) {
          const int8_t code = filter[(r * s.S + t) * s.C + c];
          if (!winograd_) at(apart_ ? t * s.K + k : k, r, apart_ ? c : t * s.C + c) = code;
          sum += code;
          magnitudes += std::abs(code);
        }
    if (winograd_)
      for (int c = 0; c < s.C; ++c) {
        int16_t u[kWinogradPoints];
        quantized_winograd_filter(filter + c, s.C, u);
        for (int point = 0; point < kWinogradPoints; ++point) at(k, point, c) = static_cast<Filter>(u[point]);
      }
    bias_[k] = (bias ? bias[k] : 0) - (x_code == Code::kS8 ? kOffset * sum : 0);
    multiplier_[k] = multiplier[k];
    const double bound =
        (255.0 * static_cast<double>(magnitudes) + std::abs(bias ? static_cast<double>(bias[k]) : 0.0)) *
        std::abs(double{multiplier[k]});
    if (!(bound <= largest_)) largest_ = bound;  // NaN stays
  }
}

#ifdef ESPALIER_INT8_VECTORS

namespace {

using int8::columns;
using int8::Filters;
using int8::Finish;
using int8::Input;
using int8::Lines;
using int8::Order;
using int8::Outputs;
using int8::Sums;

/// Sums of filter columns apart: K of each column go to a plane of their own, [S][pixels][K] and one vector
/// more.
struct Planes {
  int32_t* to;
  int64_t plane;
  int S, K;

  Sums start(int) const { return int8::zero(); }
  template <int kVectors>
  void put(const Sums* sum, int, int64_t pixel) const {
    // Whole vectors: the pixels that follow write over what is not K.
    for (int s = 0; s < S; ++s) int8::store_sums(to + s * plane + pixel * K, int8::rotate(sum[0], s * K));
  }
};

/// A 1x1 convolution whose inputs can be read where they are: one long line.
bool is_pointwise(const ConvShape& s) {
  return s.R == 1 && s.S == 1 && s.stride == 1 && s.pad == Padding{} && s.C % kGroup == 0;
}

template <bool kPlain>
void run_pointwise(const ConvShape& s, Code x_code, const PackedCodes& w, Share outputs, Share vectors,
                   const Finish& finish, const uint8_t* x) {
  // So much that a column's filters are worth fetching, and that stays in the first-level cache.
  const int most = std::max(48, (16 << 10) / (s.C * static_cast<int>(sizeof(Input))));
  // Unsigned bytes are inputs as they lie.
  const bool is_signed = x_code == Code::kS8, copies = is_signed || sizeof(Input) > 1;
  const Filters filters(w);
  const Outputs<kPlain> out{w, finish, s.K};
  struct Tag {};
  Input* copy = copies ? reinterpret_cast<Input*>(
                             scratch<Tag>(static_cast<size_t>(most) * s.C * sizeof(Input) / sizeof(float)))
                       : nullptr;
  for (int first = outputs.first; first < outputs.last; first += most) {
    const int count = std::min(most, outputs.last - first);
    const uint8_t* codes = x + int64_t{first} * s.C;
    const auto* line = reinterpret_cast<const Input*>(codes);
    if (copies) {
      int8::copy_codes(copy, codes, int64_t{count} * s.C, is_signed);
      line = copy;
    }
    columns(filters, vectors, Lines{&line, s.C}, count, out, first);
  }
}

/// Output lines that a column of filters passes before the next, so that filters which no cache near the core
/// holds are not fetched for every line again.
int lines_at_once(const ConvShape& s) {
  constexpr int kInputs = (64 << 10) / sizeof(Input);
  return std::clamp(kInputs / (s.stride * (s.W + s.pad.left + s.pad.right) * s.C), 1, 16);
}

template <bool kPlain>
void run_lines(const ConvShape& s, Code x_code, const PackedCodes& w, Share outputs, Share vectors,
               const Finish& finish, const uint8_t* x) {
  const int most = lines_at_once(s), ring = s.R + (most - 1) * s.stride;
  int8::PaddedLines padded(s, x_code, x, ring);
  const Filters filters(w);
  const Outputs<kPlain> out{w, finish, s.K};
  struct Tag {};
  const Input** line = reinterpret_cast<const Input**>(
      scratch<Tag>(static_cast<size_t>(ring) * sizeof(Input*) / sizeof(float)));
  for (int output = outputs.first; output < outputs.last;) {
    const int n = output / s.P(), p = output % s.P();
    const int count = std::min({most, s.P() - p, outputs.last - output});
    for (int i = 0; i < (count - 1) * s.stride + s.R; ++i)
      line[i] = padded.line(n, p * s.stride - s.pad.top + i);
    columns(filters, vectors, Lines{line, int64_t{s.stride} * s.C, s.stride, count}, s.Q(), out,
            int64_t{output} * s.Q());
    output += count;
  }
}

/// Few output channels would leave most lanes of a vector empty: the filter's columns are its lanes too, each
/// pixel is multiplied once instead of S times, and neighbours' sums are added.
template <bool kPlain>
void run_columns_apart(const ConvShape& s, Code x_code, const PackedCodes& w, Share outputs,
                       const Finish& finish, const uint8_t* x) {
  int8::PaddedLines padded(s, x_code, x, s.R);
  const Filters filters(w);
  constexpr int kVectors = int8::kPack, kStep = int8::kStep;
  const int pixels = s.W + s.pad.left + s.pad.right, length = s.Q() * s.K;
  const int64_t plane = int64_t{pixels} * s.K + kStep, room = (length + kStep - 1) / kStep * kStep;
  struct Tag {};
  auto* line = reinterpret_cast<const Input**>(
      scratch<Tag>(static_cast<size_t>(s.S * plane + 2 * room) + s.R * sizeof(Input*) / sizeof(float)));
  auto* sums = reinterpret_cast<int32_t*>(line + s.R);
  int32_t* bias = sums + s.S * plane;
  auto* multiplier = reinterpret_cast<float*>(bias + room);
  for (int i = 0; i < room; ++i) bias[i] = w.bias(0)[i % s.K], multiplier[i] = w.multiplier(0)[i % s.K];
  for (int output = outputs.first; output < outputs.last; ++output) {
    for (int r = 0; r < s.R; ++r) line[r] = padded.line(output / s.P(), output % s.P() - s.pad.top + r);
    int8::column<1>(filters, 0, {line, s.C}, pixels, Planes{sums, plane, s.S, s.K}, 0);
    for (int i = 0; i < length; i += kStep) {
      Sums sum[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        sum[v] = int8::load_sums(bias + i + v * kLanes);
        for (int t = 0; t < s.S; ++t)
          sum[v] = int8::add(sum[v], int8::load_sums(sums + t * plane + int64_t{t} * s.K + i + v * kLanes));
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
#ifdef ESPALIER_INT8_AVX2
  if (w.winograd()) return quantized_winograd_prepared(s, x_code, w, r, y_code, x, y, team);
#endif
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
