#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "kernels/grid.h"
#include "kernels/quantized_lines.h"
#include "kernels/quantized_prepared.h"

namespace espalier::kernels {

using int8::Filter;
using int8::kBlock;
using int8::kGroup;
using int8::kLanes;
using int8::kOffset;

PackedCodes::PackedCodes(const ConvShape& s, Code x_code, const int8_t* w, const int32_t* bias,
                         const float* multiplier)
    : apart_(s.S > 1 && s.stride == 1 && s.S * s.K <= kLanes),
      vectors_((s.K + kLanes - 1) / kLanes),
      lines_(s.R),
      groups_(((apart_ ? 1 : s.S) * s.C + kGroup - 1) / kGroup) {
  codes_.resize(static_cast<size_t>(vectors_) * lines_ * groups_ * kBlock);
  bias_.resize(static_cast<size_t>(vectors_) * kLanes);
  multiplier_.resize(bias_.size());
  for (int k = 0; k < s.K; ++k) {
    int32_t sum = 0;
    int64_t magnitudes = 0;
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t)
        for (int c = 0; c < s.C; ++c) {
          const int8_t code = w[((int64_t{k} * s.R + r) * s.S + t) * s.C + c];
          const int lane = apart_ ? t * s.K + k : k, i = apart_ ? c : t * s.C + c;
          Filter* vector = codes_.data() + static_cast<size_t>(lane / kLanes) * lines_ * groups_ * kBlock;
          vector[(r * groups_ + i / kGroup) * kBlock + lane % kLanes * kGroup + i % kGroup] = code;
          sum += code;
          magnitudes += std::abs(code);
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

using int8::Finish;
using int8::Input;
using int8::Inputs;
using int8::Order;
using int8::Sums;

/// What `lines` lines of neighbouring outputs see: filter line r of output i begins at line[r] + i * step,
/// and everything `stride` lines further for each line of outputs.
struct Lines {
  const Input* const* line;
  int64_t step;
  int stride = 0, lines = 1;
};

/// What becomes of sums: they leave as outputs of K channels.
template <bool kPlain>
struct Outputs {
  const PackedCodes& w;
  const Finish& finish;
  int K;

  Sums start(int vector) const { return int8::load_sums(w.bias(vector)); }
  template <int kVectors>
  void put(const Sums* sum, int vector, int64_t pixel) const {
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

  Sums start(int) const { return int8::zero(); }
  template <int kVectors>
  void put(const Sums* sum, int, int64_t pixel) const {
    // Whole vectors: the pixels that follow write over what is not K.
    for (int s = 0; s < S; ++s) int8::store_sums(to + s * plane + pixel * K, int8::rotate(sum[0], s * K));
  }
};

// Of a tile. In 32 registers 3 by 8 runs a quarter faster than 4 by 6; in 16, where a product needs one too,
// 2 by 6 takes all.
#ifdef ESPALIER_INT8_VNNI
constexpr int kMostVectors = 3, kSums = 24;
#else
constexpr int kMostVectors = 2, kSums = 12;
#endif

/// kRows outputs, from `first` on, by kVectors * kLanes channels, in registers.
template <int kVectors, class Out, int kRows>
void tile(const PackedCodes& w, int vector, const Lines& inputs, int first, const Out& out, int64_t pixel) {
  Sums sum[kRows][kVectors];
  const Filter* codes[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    codes[v] = w.vector(vector + v);
    Sums start = out.start(vector + v);
    int8::hold(start);
    for (int i = 0; i < kRows; ++i) sum[i][v] = start;
  }
  const int groups = w.groups();
  int64_t next = 0;
  for (int line = 0; line < w.lines(); ++line) {
    const Input* x[kRows];
    for (int i = 0; i < kRows; ++i) x[i] = inputs.line[line] + (first + i) * inputs.step;
    for (int g = 0; g < groups; ++g, next += kBlock) {
      Sums filter[kVectors];
      for (int v = 0; v < kVectors; ++v) filter[v] = int8::load_filter(codes[v] + next);
      for (int i = 0; i < kRows; ++i) {
        const Inputs input = int8::broadcast_group(x[i] + g * kGroup);
        for (int v = 0; v < kVectors; ++v) sum[i][v] = int8::dot(sum[i][v], input, filter[v]);
      }
    }
  }
  for (int i = 0; i < kRows; ++i) out.template put<kVectors>(sum[i], vector, pixel + first + i);
}

template <class Out>
using TileFunction = void (*)(const PackedCodes&, int, const Lines&, int, const Out&, int64_t);

/// tile<kVectors, Out, i + 1> at place i.
template <int kVectors, class Out, int... i>
constexpr std::array<TileFunction<Out>, sizeof...(i)> tiles(std::integer_sequence<int, i...>) {
  return {tile<kVectors, Out, i + 1>...};
}

/// One column of tiles of nearly equal height: lines of `count` outputs, the first being `pixel`.
template <int kVectors, class Out>
void column(const PackedCodes& w, int vector, Lines inputs, int count, const Out& out, int64_t pixel) {
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
void columns(Share vectors, const Lines& inputs, int count, const Outputs<kPlain>& out, int64_t pixel) {
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
  return s.R == 1 && s.S == 1 && s.stride == 1 && s.pad == Padding{} && s.C % kGroup == 0;
}

template <bool kPlain>
void run_pointwise(const ConvShape& s, Code x_code, const PackedCodes& w, Share outputs, Share vectors,
                   const Finish& finish, const uint8_t* x) {
  // So much that a column's filters are worth fetching, and that stays in the first-level cache.
  const int most = std::max(48, (16 << 10) / (s.C * static_cast<int>(sizeof(Input))));
  // Unsigned bytes are inputs as they lie.
  const bool is_signed = x_code == Code::kS8, copies = is_signed || sizeof(Input) > 1;
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
    columns<kPlain>(vectors, {&line, s.C}, count, {w, finish, s.K}, first);
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
  struct Tag {};
  const Input** line = reinterpret_cast<const Input**>(
      scratch<Tag>(static_cast<size_t>(ring) * sizeof(Input*) / sizeof(float)));
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
  int8::PaddedLines padded(s, x_code, x, s.R);
  constexpr int kVectors = int8::kPack, kStep = int8::kStep;
  const int pixels = s.W + s.pad.left + s.pad.right, length = s.Q() * s.K;
  const int64_t plane = int64_t{pixels} * s.K + kStep, room = (length + kStep - 1) / kStep * kStep;
  struct Tag {};
  auto* sums =
      reinterpret_cast<int32_t*>(scratch<Tag>(static_cast<size_t>(s.S * plane + 2 * room + 2 * s.R)));
  int32_t* bias = sums + s.S * plane;
  auto* multiplier = reinterpret_cast<float*>(bias + room);
  auto* line = reinterpret_cast<const Input**>(multiplier + room);
  for (int i = 0; i < room; ++i) bias[i] = w.bias(0)[i % s.K], multiplier[i] = w.multiplier(0)[i % s.K];
  for (int output = outputs.first; output < outputs.last; ++output) {
    for (int r = 0; r < s.R; ++r) line[r] = padded.line(output / s.P(), output % s.P() - s.pad.top + r);
    column<1>(w, 0, {line, s.C}, pixels, Planes{sums, plane, s.S, s.K}, 0);
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
