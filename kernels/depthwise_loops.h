#pragma once
// The depthwise 3x3 loops: forward, and the gradients of data and filter.

#include <type_traits>

#include "kernels/conv2d.h"
#include "kernels/depthwise_rows.h"
#include "kernels/normed_conv.h"

namespace espalier::kernels::strips {

ESPALIER_SIMT void multiply_add(Float2& sum, const Float2& a, const Float2& b) {
  sum.v[0] = fmaf(a.v[0], b.v[0], sum.v[0]);
  sum.v[1] = fmaf(a.v[1], b.v[1], sum.v[1]);
}

/// Two channels' values, 0 where there are none.
ESPALIER_SIMT Float2 load_channels(const float* p, int c) { return p ? warp::load2(p + c) : Float2{}; }

/// Nine taps of two channels.
struct Taps {
  Float2 v[kTaps];
  ESPALIER_SIMT void load(const float* w, int C, int c) {
    ESPALIER_UNROLL
    for (int i = 0; i < kTaps; ++i) v[i] = warp::load2(w + int64_t{i} * C + c);
  }
};

/// Activations in which a greater slope does not need a comparison, as in every network.
inline bool takes(const Activation& act) { return act.slope <= 1.0f; }

/// What a pass reads through a norm: z = act(factor * x + offset).
struct ThreadNorm {
  Float2 factor, offset;
  ESPALIER_SIMT void load(const InputNorm& norm, int c) {
    factor = load_channels(norm.factor, c);
    offset = load_channels(norm.offset, c);
  }
  ESPALIER_SIMT float before(float x, int k) const { return fmaf(factor.v[k], x, offset.v[k]); }
  ESPALIER_SIMT static float act(const InputNorm& norm, float before) {
    return warp::lesser(warp::greater(before, norm.act.slope * before), norm.act.cap);
  }
};

/// Where results go: act(sum + bias + residual).
template <class T>
struct PlainOutput {
  static constexpr bool kReduces = false;
  static constexpr int kBytes = 0;
  struct State {};
  EpilogueOf<T> e;
  bool plain;  ///< an epilogue that changes nothing
  T* y;
  /// Pixel k of a strip's row at `to`, which is none of the image where it is not valid.
  ESPALIER_SIMT void store(State&, int, bool valid, T* to, int c, Float2 v) const {
    if (!plain && valid) {
      const Float2 bias = load_channels(e.bias, c);
      const Float2 residual = e.residual ? warp::load2(e.residual + (to - y)) : Float2{};
      ESPALIER_UNROLL
      for (int k = 0; k < 2; ++k) v.v[k] = e.act(v.v[k] + bias.v[k] + residual.v[k]);
    }
    if (valid) warp::store2(to, v);
  }
  ESPALIER_SIMT void end_row(State&, int) const {}
  ESPALIER_SIMT void finish(const Cut&, const State&) const {}
};

/// y = sum, and the moments of each part's results in parts[part, 3, C].
template <class T>
struct MomentsOutput {
  static constexpr bool kReduces = true;
  static constexpr int kBytes = kPairMomentBytes;
  /// Distances from the first result.
  struct State {
    Float2 origin, sum, squares;
    float count;
  };
  T* y;
  float* parts;
  ESPALIER_SIMT void store(State& s, int k, bool valid, T* to, int, const Float2& v) const {
    if (k == 0 && s.count == 0) s.origin = v;  // a strip has its first pixel
    if (!valid) return;
    ESPALIER_UNROLL
    for (int i = 0; i < 2; ++i) {
      const float d = v.v[i] - s.origin.v[i];
      s.sum.v[i] += d;
      s.squares.v[i] = fmaf(d, d, s.squares.v[i]);
    }
    warp::store2(to, v);
  }
  ESPALIER_SIMT void end_row(State& s, int count) const { s.count += static_cast<float>(count); }
  ESPALIER_SIMT void finish(const Cut& cut, const State& s) const {
    channels::Moments own[2] = {};
    ESPALIER_UNROLL
    for (int k = 0; k < 2; ++k) {
      if (s.count == 0) continue;
      const float off = s.sum.v[k] / s.count, rest = s.squares.v[k] - s.sum.v[k] * off;
      own[k] = {s.count, s.origin.v[k] + off, rest < 0 ? 0.0f : rest};
    }
    reduce_pair_moments(cut, own, parts + int64_t{warp::block().z} * 3 * cut.channels);
  }
};

/// The forward pass. A step brings one row of x, or with stride 2 two, and makes one row of y.
template <int kStride, class T, class Output>
struct Forward {
  using Type = T;
  static constexpr int kUnits = 8 / kStride, kStep = 8, kHalo = kFilter - kStride, kWidth = kStep + kHalo;
  static constexpr int kLead = kStride == 1 ? 2 : 1, kPhases = kStride == 1 ? 3 : 2;
  using Layout = LineLayout<T, kStep, kHalo>;
  static constexpr int kStageElements = kStride * Layout::kMost, kResultBytes = Output::kBytes;
  struct State {
    Float2 window[kFilter][kWidth];
    Taps filter;
    ThreadNorm norm;
    typename Output::State output;
  };

  int H, W, P, Q, C, top, left;
  const T* x;
  InputNorm norm;
  const float* w;
  Output out;

  struct Copiers : Copier<T, Layout> {
    ESPALIER_SIMT explicit Copiers(const Cut& cut) : Copier<T, Layout>(cut, 0) {}
  };

  ESPALIER_SIMT void begin(const Thread& t, State& s) const {
    s.filter.load(w, C, t.c);
    s.norm.load(norm, t.c);
  }
  ESPALIER_SIMT void ask(const Copiers& copiers, const Cursor& at, int stage) const {
    ESPALIER_UNROLL
    for (int i = 0; i < kStride; ++i)
      copiers.ask({x, H, W, row_of(at, i), column_of(at.column), wanted(at, i)}, at.n,
                  stage + i * Layout::kMost);
  }
  template <int kPhase>
  ESPALIER_SIMT void step(const Cut& cut, const Cursor& at, const Thread& t, int stage, State& s) const {
    // Which rows of the window are the first, the middle and the last: the last of a step is the first of the
    // next with stride 2, the middle with stride 1.
    constexpr int kFirst = kStride == 1 ? (kPhase + 1) % 3 : kPhase * 2,
                  kMiddle = kStride == 1 ? (kPhase + 2) % 3 : 1,
                  kLast = kStride == 1 ? kPhase : 2 - kPhase * 2;
    if constexpr (kStride == 2) read(cut, at, t, stage, 0, s, s.window[kMiddle]);
    read(cut, at, t, stage + (kStride - 1) * Layout::kMost, kStride - 1, s, s.window[kLast]);
    if (at.step < kLead || !t.works(cut, at.column)) return;
    const int p = at.row + at.step - kLead, q = at.column + t.column;
    T* to = out.y + int64_t{(at.n * P + p) * Q + q} * C + t.c;
    if (q + kUnits <= Q)
      store_row<kFirst, kMiddle, kLast>(s, kUnits, to, t.c);
    else
      store_row<kFirst, kMiddle, kLast>(s, Q - q, to, t.c);
  }
  ESPALIER_SIMT void finish(const Cut& cut, const State& s) const { out.finish(cut, s.output); }

 private:
  ESPALIER_SIMT int row_of(const Cursor& at, int i) const {
    return kStride == 1 ? at.row + at.step - top : 2 * (at.row + at.step - kLead) + 1 + i - top;
  }
  ESPALIER_SIMT int column_of(int column) const { return column * kStride - left; }
  /// `count` results from the strip's first; inlined for a whole strip, whose results need no comparisons.
  template <int kFirst, int kMiddle, int kLast>
  ESPALIER_SIMT void store_row(State& s, int count, T* to, int c) const {
    ESPALIER_UNROLL
    for (int k = 0; k < kUnits; ++k) {
      Float2 sum = {};
      add(s.window[kFirst], k, s.filter.v, sum);
      add(s.window[kMiddle], k, s.filter.v + kFilter, sum);
      add(s.window[kLast], k, s.filter.v + 2 * kFilter, sum);
      out.store(s.output, k, k < count, to + int64_t{C} * k, c, sum);
    }
    out.end_row(s.output, count);
  }
  /// A tile begins with the last row of the window before its first.
  ESPALIER_SIMT static bool wanted(const Cursor& at, int i) {
    return kStride == 1 || at.step >= kLead || i == 1;
  }
  ESPALIER_SIMT static void add(const Float2 (&row)[kWidth], int k, const Float2* filter, Float2& sum) {
    ESPALIER_UNROLL
    for (int t = 0; t < kFilter; ++t) multiply_add(sum, row[k * kStride + t], filter[t]);
  }
  /// Through the norm; what lies outside the image stays 0.
  ESPALIER_SIMT void read(const Cut& cut, const Cursor& at, const Thread& t, int line, int i, const State& s,
                          Float2 (&row)[kWidth]) const {
    const StripReader<T, kStep, kHalo> reader(cut, line);
    ESPALIER_UNROLL
    for (int k = 0; k < kWidth; ++k) row[k] = reader[k];
    const int h = row_of(at, i), v = column_of(at.column) + t.column * kStride;
    if (!norm.factor || h < 0 || h >= H) return;
    if (v >= 0 && v + kWidth <= W) {
      ESPALIER_UNROLL
      for (int k = 0; k < kWidth; ++k) row[k] = normalised(s, row[k]);
    } else {
      ESPALIER_UNROLL
      for (int k = 0; k < kWidth; ++k)
        if (static_cast<uint32_t>(v + k) < static_cast<uint32_t>(W)) row[k] = normalised(s, row[k]);
    }
  }
  ESPALIER_SIMT Float2 normalised(const State& s, const Float2& in) const {
    return {
        {ThreadNorm::act(norm, s.norm.before(in.v[0], 0)), ThreadNorm::act(norm, s.norm.before(in.v[1], 1))}};
  }
};

/// Which gradients a pass makes: dx = sum; or dw; or both, of an x that was read through a norm:
/// dx = G * factor, where G is the gradient before the activation, with the sums of G and of G * (x - mean).
enum class Wants { kData, kFilter, kBoth };

/// The gradients, from windows of dy: a pixel of x sees every gradient of the window with one tap, for its
/// own gradient as for the tap's. A step brings one row of dy and, where x is read, one row of it, or with
/// stride 2 two. With stride 2 and h + top = 2a or 2a + 1, v + left = 2b or 2b + 1, the four pixels of (a, b)
/// see (a, b), (a, b-1), (a-1, b) and (a-1, b-1) of dy, each with other taps; rows and columns are then a and
/// b.
template <int kStride, class T, Wants kWants>
struct Gradients {
  using Type = T;
  static constexpr bool kData = kWants != Wants::kFilter, kFilterToo = kWants != Wants::kData,
                        kBoth = kWants == Wants::kBoth;
  static constexpr int kUnits = (kBoth ? 4 : 8) / kStride, kStep = kUnits, kHalo = kFilter - kStride,
                       kWidth = kUnits + kHalo, kRows = kFilter - kStride + 1;
  static constexpr int kLead = kHalo, kPhases = kRows;
  static constexpr int kSums = (kFilterToo ? kTaps : 0) + (kBoth ? 2 : 0);
  using Layout = LineLayout<T, kStep, kHalo>;
  using OwnLayout = LineLayout<T, kUnits * kStride, 0>;
  using OwnReader = StripReader<T, kUnits * kStride, 0>;
  static constexpr int kGradientLines = kBoth ? 2 : 1, kOwn = kGradientLines * Layout::kMost;
  static constexpr int kStageElements = kOwn + (kFilterToo ? kStride * OwnLayout::kMost : 0);
  static constexpr int kResultBytes = kPairSumBytes<kSums>;
  struct State {
    Float2 window[kRows][kWidth];
    Taps filter;
    ThreadNorm norm;
    Float2 mean, constant, slope, mean_of_y;
    Float2 sum[kSums ? kSums : 1];  ///< of the norm, then of the taps
  };

  int H, W, P, Q, C, top, left;
  const T* x;
  InputNorm norm;
  OutputGradient<T> dy;
  const float* w;
  T* dx;
  float* sums;  ///< [part, kSums, C]

  struct NoCopier {
    static constexpr int kBytes = 0;
    ESPALIER_SIMT NoCopier(const Cut&, int) {}
  };
  struct Copiers {
    using Own = std::conditional_t<kFilterToo, Copier<T, OwnLayout>, NoCopier>;
    Copier<T, Layout> gradient;
    Own own;
    static constexpr int kBytes = Copier<T, Layout>::kBytes + Own::kBytes;
    ESPALIER_SIMT explicit Copiers(const Cut& cut) : gradient(cut, 0), own(cut, Copier<T, Layout>::kBytes) {}
  };

  /// Columns and rows that the pass is cut by.
  static int columns(const ConvShape& s) { return kStride == 1 ? s.W : (s.W - 1 + s.pad.left) / 2 + 1; }
  static int rows(const ConvShape& s) { return kStride == 1 ? s.H : (s.H - 1 + s.pad.top) / 2 + 1; }

  ESPALIER_SIMT void begin(const Thread& t, State& s) const {
    if constexpr (kData) s.filter.load(w, C, t.c);
    if constexpr (kFilterToo) s.norm.load(norm, t.c);
    if constexpr (kBoth) {
      s.mean = load_channels(norm.mean, t.c);
      s.constant = load_channels(dy.constant, t.c);
      s.slope = load_channels(dy.slope, t.c);
      s.mean_of_y = load_channels(dy.mean, t.c);
    }
  }
  ESPALIER_SIMT void ask(const Copiers& copiers, const Cursor& at, int stage) const {
    const int row = gradient_row(at), column = gradient_column(at.column);
    copiers.gradient.ask({dy.g, P, Q, row, column}, at.n, stage);
    if constexpr (kBoth)
      if (dy.slope) copiers.gradient.ask({dy.y, P, Q, row, column}, at.n, stage + Layout::kMost);
    if constexpr (kFilterToo) {
      ESPALIER_UNROLL
      for (int i = 0; i < kStride; ++i)
        copiers.own.ask({x, H, W, own_row(at) + i, own_column(at.column), at.step >= kLead}, at.n,
                        stage + kOwn + i * OwnLayout::kMost);
    }
  }
  template <int kPhase>
  ESPALIER_SIMT void step(const Cut& cut, const Cursor& at, const Thread& t, int stage, State& s) const {
    read(cut, at, t, stage, s, s.window[kPhase]);
    if (at.step < kLead || !t.works(cut, at.column)) return;
    const int h = own_row(at), v = own_column(at.column) + t.column * kStride;
    ESPALIER_UNROLL
    for (int i = 0; i < kStride; ++i) {
      if (kStride == 2 && (h + i < 0 || h + i >= H)) continue;
      const OwnReader own(cut, stage + kOwn + i * OwnLayout::kMost);
      if constexpr (kData) {
        T* to = dx + int64_t{(at.n * H + h + i) * W + v} * C + t.c;
        if (v >= 0 && v + kUnits * kStride <= W)
          own_row<kPhase>(s, i, own, to, [](int) { return true; });
        else
          own_row<kPhase>(s, i, own, to,
                          [&](int k) { return static_cast<uint32_t>(v + k) < static_cast<uint32_t>(W); });
      } else {
        own_row_of_filter<kPhase>(s, i, own, v);
      }
    }
  }
  ESPALIER_SIMT void finish(const Cut& cut, const State& s) const {
    if constexpr (kSums > 0) reduce_pairs<kSums>(cut, s.sum, sums + int64_t{warp::block().z} * kSums * C);
  }

 private:
  ESPALIER_SIMT int gradient_row(const Cursor& at) const {
    return at.row + at.step - kLead + (kStride == 1 ? top : 0);
  }
  ESPALIER_SIMT int gradient_column(int column) const { return column - kHalo + (kStride == 1 ? left : 0); }
  ESPALIER_SIMT int own_row(const Cursor& at) const {
    return (at.row + at.step - kLead) * kStride - first(top);
  }
  ESPALIER_SIMT int own_column(int column) const { return column * kStride - first(left); }
  ESPALIER_SIMT static int first(int padding) { return kStride == 1 ? 0 : padding; }

  /// The window's newest row. What lies outside the image stays 0.
  ESPALIER_SIMT void read(const Cut& cut, const Cursor& at, const Thread& t, int stage, const State& s,
                          Float2 (&row)[kWidth]) const {
    const StripReader<T, kStep, kHalo> g(cut, stage);
    ESPALIER_UNROLL
    for (int k = 0; k < kWidth; ++k) row[k] = g[k];
    if constexpr (kBoth) {
      const int p = gradient_row(at), q = gradient_column(at.column) + t.column;
      if (!dy.slope || p < 0 || p >= P) return;
      const StripReader<T, kStep, kHalo> y(cut, stage + Layout::kMost);
      if (q >= 0 && q + kWidth <= Q) {
        ESPALIER_UNROLL
        for (int k = 0; k < kWidth; ++k) complete(s, y[k], row[k]);
      } else {
        ESPALIER_UNROLL
        for (int k = 0; k < kWidth; ++k)
          if (static_cast<uint32_t>(q + k) < static_cast<uint32_t>(Q)) complete(s, y[k], row[k]);
      }
    }
  }
  ESPALIER_SIMT static void complete(const State& s, const Float2& y, Float2& g) {
    ESPALIER_UNROLL
    for (int j = 0; j < 2; ++j) g.v[j] += fmaf(s.slope.v[j], y.v[j] - s.mean_of_y.v[j], s.constant.v[j]);
  }

  /// Row i of the strip; inlined for a whole strip, whose pixels need no comparisons.
  template <int kPhase, class Valid>
  ESPALIER_SIMT void own_row(State& s, int i, const OwnReader& own, T* to, const Valid& valid) const {
    Float2 in[kUnits * kStride] = {};
    if constexpr (kFilterToo) {
      ESPALIER_UNROLL
      for (int k = 0; k < kUnits * kStride; ++k) in[k] = own[k];
    }
    ESPALIER_UNROLL
    for (int k = 0; k < kUnits * kStride; ++k) pixel<kPhase>(s, i, k, valid(k), in[k], to + int64_t{C} * k);
  }

  /// The same for the filter's gradient alone, in which what lies outside the image counts for nothing as
  /// long as it stays 0.
  template <int kPhase>
  ESPALIER_SIMT void own_row_of_filter(State& s, int i, const OwnReader& own, int v) const {
    Float2 z[kUnits * kStride];
    ESPALIER_UNROLL
    for (int k = 0; k < kUnits * kStride; ++k) z[k] = own[k];
    if (norm.factor) {
      ESPALIER_UNROLL
      for (int k = 0; k < kUnits * kStride; ++k) {
        const bool valid = static_cast<uint32_t>(v + k) < static_cast<uint32_t>(W);
        ESPALIER_UNROLL
        for (int j = 0; j < 2; ++j)
          z[k].v[j] = valid ? ThreadNorm::act(norm, s.norm.before(z[k].v[j], j)) : 0.0f;
      }
    }
    ESPALIER_UNROLL
    for (int k = 0; k < kUnits * kStride; ++k) {
      Float2 sum = {};
      add_taps<kPhase>(s, i, k, z[k], sum);
    }
  }

  /// What the taps of pixel (i, k) of the strip see: the gradient of the pixel, and of the taps, whose input
  /// the pixel is. Tap (r, t) meets gradient ((h + top - r) / stride, (v + left - t) / stride) where these
  /// are whole.
  template <int kPhase>
  ESPALIER_SIMT void add_taps(State& s, int i, int k, const Float2& z, Float2& sum) const {
    ESPALIER_UNROLL
    for (int r = 0; r < kFilter; ++r) ESPALIER_UNROLL
    for (int t = 0; t < kFilter; ++t) {
      if (kStride == 2 && ((r + i) % 2 || (t + k) % 2)) continue;
      const int back = kStride == 1 ? r : (r - i) / 2, over = kStride == 1 ? k - t : (k - t) / 2;
      const Float2& g = s.window[(kPhase + kRows - back) % kRows][over + kHalo];
      if constexpr (kData) multiply_add(sum, g, s.filter.v[r * kFilter + t]);
      if constexpr (kFilterToo) multiply_add(s.sum[kSums - kTaps + r * kFilter + t], g, z);
    }
  }

  /// Pixel (i, k) of the strip: of its row i and column k, with stride 2 of its rows 2a + i. What is not
  /// valid lies outside the image, where x comes as zeros.
  template <int kPhase>
  ESPALIER_SIMT void pixel(State& s, int i, int k, bool valid, const Float2& in, T* to) const {
    Float2 z = in, before = in;
    if constexpr (kBoth) {
      ESPALIER_UNROLL
      for (int j = 0; j < 2; ++j) {
        before.v[j] = s.norm.before(in.v[j], j);
        z.v[j] = valid ? ThreadNorm::act(norm, before.v[j]) : 0.0f;
      }
    }
    Float2 sum = {};
    add_taps<kPhase>(s, i, k, z, sum);
    if constexpr (kBoth) {
      ESPALIER_UNROLL
      for (int j = 0; j < 2; ++j) {
        const float here = before.v[j] > 0 ? sum.v[j] : norm.act.slope * sum.v[j];
        const float g = valid && z.v[j] < norm.act.cap ? here : 0.0f;
        s.sum[0].v[j] += g;
        s.sum[1].v[j] = fmaf(g, in.v[j] - s.mean.v[j], s.sum[1].v[j]);
        sum.v[j] = g * s.norm.factor.v[j];
      }
    }
    if (valid) warp::store2(to, sum);
  }
};

}  // namespace espalier::kernels::strips
