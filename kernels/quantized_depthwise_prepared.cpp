#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/quantized_lines.h"
#include "kernels/quantized_prepared.h"

namespace espalier::kernels {

using int8::Filter;
using int8::kBlock;
using int8::kGroup;
using int8::kLanes;
using int8::kOffset;
using int8::kPack;
using int8::kStep;

DepthwiseCodes::DepthwiseCodes(const ConvShape& s, Code x_code, const int8_t* w, const int32_t* bias,
                               const float* multiplier)
    : phases_(s.stride == 1 ? s.C / std::gcd(s.C, kStep) : (s.C + kStep - 1) / kStep),
      lines_(s.R),
      groups_((s.S + kGroup - 1) / kGroup),
      flat_(s.stride == 1) {
  codes_.resize(static_cast<size_t>(phases_) * lines_ * groups_ * kPack * kBlock);
  bias_.resize(static_cast<size_t>(phases_) * kStep);
  multiplier_.resize(bias_.size());
  for (int phase = 0; phase < phases_; ++phase)
    for (int place = 0; place < kStep; ++place) {
      const int lane = int8::interleaved_lane(place), vector = int8::interleaved_vector(place);
      int c = phase * kStep + place;
      if (flat_) c %= s.C;
      if (c >= s.C) continue;
      Filter* to = codes_.data() + static_cast<size_t>(phase) * lines_ * groups_ * kPack * kBlock;
      int32_t sum = 0, magnitudes = 0;
      for (int r = 0; r < s.R; ++r)
        for (int t = 0; t < s.S; ++t) {
          const int8_t code = w[(int64_t{r} * s.S + t) * s.C + c];
          to[((r * groups_ + t / kGroup) * kPack + vector) * kBlock + lane * kGroup + t % kGroup] = code;
          sum += code;
          magnitudes += std::abs(code);
        }
      const int at = phase * kStep + vector * kLanes + lane;
      bias_[at] = (bias ? bias[c] : 0) - (x_code == Code::kS8 ? kOffset * sum : 0);
      multiplier_[at] = multiplier[c];
      const double bound = (255.0 * magnitudes + std::abs(bias ? static_cast<double>(bias[c]) : 0.0)) *
                           std::abs(double{multiplier[c]});
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

/// What the vectors of one call have in common. kR x kR filters at kStride, or any if they are 0.
template <int kR, int kStride, bool kPlain>
struct Vectors {
  const ConvShape& s;
  const DepthwiseCodes& w;
  const Finish& finish;

  int R() const { return kR ? kR : s.R; }
  int S() const { return kR ? kR : s.S; }
  int stride() const { return kStride ? kStride : s.stride; }
  int groups() const { return kR ? (kR + kGroup - 1) / kGroup : w.groups(); }

  /// kStep channels in kLines lines of outputs, one below the other: `line` are the inputs' lines, `from` the
  /// place in them, `at` the element of y in the first line.
  template <int kLines>
  void run(int phase, const Input* const* line, int64_t from, int64_t at, int count) const {
    const int64_t C = s.C, down = int64_t{s.Q()} * C;
    const Filter* codes = w.phase(phase);
    Sums sum[kLines][kPack];
    for (int v = 0; v < kPack; ++v) {
      Sums start = int8::load_sums(w.bias(phase) + v * kLanes);
      int8::hold(start);
      for (int m = 0; m < kLines; ++m) sum[m][v] = start;
    }
    const auto add_line = [&](auto i) __attribute__((always_inline)) {
      for (int g = 0; g < groups(); ++g) {
        // Taps past the last have zero filters; they read the last one again.
        const Input* x = line[i] + from + g * kGroup * C;
        const int last = S() - 1 - g * kGroup;
        Inputs tap[kGroup], taps[kPack];
        for (int t = 0; t < kGroup; ++t) tap[t] = int8::load_inputs(x + std::min(t, last) * C);
        int8::interleave(tap, taps);
#pragma GCC unroll 4
        for (int m = 0; m < kLines; ++m) {
          const int r = i - m * stride();
          if (r < 0 || r >= R()) continue;
          const Filter* filter = codes + (r * groups() + g) * kPack * kBlock;
          for (int v = 0; v < kPack; ++v)
            sum[m][v] = int8::dot(sum[m][v], taps[v], int8::load_filter(filter + v * kBlock));
        }
      }
    };
    if constexpr (kR != 0)
      // One after another, so that nothing asks which outputs see a line.
      [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
        (add_line(std::integral_constant<int, i>()), ...);
      }
    (std::make_integer_sequence<int, (kLines - 1) * kStride + kR>());
    else for (int i = 0; i < (kLines - 1) * stride() + R(); ++i) add_line(i);
    for (int m = 0; m < kLines; ++m)
      if constexpr (kPlain)
        finish.template store_plain<kPack, Order::kInterleaved>(sum[m], w.multiplier(phase), at + m * down,
                                                                count);
      else
        finish.template store<kPack, Order::kInterleaved>(sum[m], w.multiplier(phase), at + m * down, count);
  }

  /// All of kLines lines of outputs, the first at element `at`.
  template <int kLines>
  void lines(const Input* const* line, int64_t at) const {
    if (w.flat()) {
      const int64_t length = int64_t{s.Q()} * s.C;
      int phase = 0;
      for (int64_t j = 0; j < length; j += kStep) {
        run<kLines>(phase, line, j, at + j, static_cast<int>(std::min<int64_t>(kStep, length - j)));
        if (++phase == w.phases()) phase = 0;
      }
    } else {
      for (int q = 0; q < s.Q(); ++q)
        for (int phase = 0; phase < w.phases(); ++phase)
          run<kLines>(phase, line, int64_t{q} * stride() * s.C + phase * kStep,
                      at + int64_t{q} * s.C + phase * kStep, std::min(kStep, s.C - phase * kStep));
    }
  }
};

constexpr int kMostLines = 4;

template <int kR, int kStride, bool kPlain>
void run(const ConvShape& s, Code x_code, const DepthwiseCodes& w, Share outputs, const Finish& finish,
         const void* x) {
  // Lines of outputs at a time: neighbours see the same inputs.
  const int most = kR == 0 ? 1 : kStride == 1 ? kMostLines : 2;
  const int ring = (most - 1) * s.stride + s.R;
  int8::PaddedLines padded(s, x_code, x, ring);
  struct Tag {};
  const Input** line = reinterpret_cast<const Input**>(
      scratch<Tag>(static_cast<size_t>(ring) * sizeof(Input*) / sizeof(float)));
  const Vectors<kR, kStride, kPlain> vectors{s, w, finish};
  const int P = s.P();
  for (int output = outputs.first; output < outputs.last;) {
    const int n = output / P, p = output % P, left = std::min(outputs.last - output, P - p);
    const int count = left >= most ? most : left >= 2 && most >= 2 ? 2 : 1;
    const int top = p * s.stride - s.pad.top;
    for (int i = 0; i < (count - 1) * s.stride + s.R; ++i) line[i] = padded.line(n, top + i);
    const int64_t at = int64_t{output} * s.Q() * s.C;
    if constexpr (kR != 0) {
      if (kStride == 1 && count == kMostLines)
        vectors.template lines<kMostLines>(line, at);
      else if (count == 2)
        vectors.template lines<2>(line, at);
      else
        vectors.template lines<1>(line, at);
    } else {
      vectors.template lines<1>(line, at);
    }
    output += count;
  }
}

template <int kR, int kStride>
void run(const ConvShape& s, Code x_code, const DepthwiseCodes& w, Share outputs, const Finish& finish,
         const void* x) {
  finish.plain() ? run<kR, kStride, true>(s, x_code, w, outputs, finish, x)
                 : run<kR, kStride, false>(s, x_code, w, outputs, finish, x);
}

}  // namespace

void quantized_depthwise_prepared(const ConvShape& s, Code x_code, const DepthwiseCodes& w,
                                  const Requantize& r, Code y_code, const void* x, void* y,
                                  const Team& team) {
  const Share outputs(s.N * s.P(), team.thread, team.threads);
  if (outputs.count() <= 0) return;
  const Finish finish(r, w.largest(), y_code, y);
  if (s.R == 3 && s.S == 3 && s.stride == 1)
    run<3, 1>(s, x_code, w, outputs, finish, x);
  else if (s.R == 3 && s.S == 3 && s.stride == 2)
    run<3, 2>(s, x_code, w, outputs, finish, x);
  else
    run<0, 0>(s, x_code, w, outputs, finish, x);
}

#else

void quantized_depthwise_prepared(const ConvShape&, Code, const DepthwiseCodes&, const Requantize&, Code,
                                  const void*, void*, const Team&) {}

#endif

}  // namespace espalier::kernels
