#pragma once
// Depthwise 3x3 convolutions, four channels a thread: one 16-byte load brings what a thread needs of a pixel.
// The filter stays in registers while the thread walks down a strip of two columns.

#include "kernels/channel_reduce.h"
#include "kernels/divisor.h"
#include "kernels/normed_conv.h"
#include "kernels/warp.h"

namespace espalier::kernels::strips {

using warp::Float4;

constexpr int kFilter = 3, kTaps = kFilter * kFilter, kColumns = 2;

ESPALIER_SIMT void multiply_add(Float4& sum, const Float4& a, const Float4& b) {
  ESPALIER_UNROLL
  for (int i = 0; i < 4; ++i) sum.v[i] = fmaf(a.v[i], b.v[i], sum.v[i]);
}

/// What a thread works on: four channels of a strip of `rows` rows and two columns of one image.
struct Strip {
  int c, column, row, n;
  bool valid;
};

/// Items in the order channels, columns, rows, images: neighbouring threads read neighbouring memory.
struct Strips {
  Divisor by_channels, by_columns, by_rows;
  int64_t count;
  int length;  ///< rows of one strip

  Strips(int channels, int columns, int rows, int images, int length)
      : by_channels(channels / 4),
        by_columns((columns + kColumns - 1) / kColumns),
        by_rows((rows + length - 1) / length),
        count(int64_t{channels / 4} * by_columns.divisor * by_rows.divisor * images),
        length(length) {}

  ESPALIER_SIMT Strip at(int item) const {
    const int pixel = by_channels.divide(item), line = by_columns.divide(pixel), n = by_rows.divide(line);
    return {(item - pixel * static_cast<int>(by_channels.divisor)) * 4,
            (pixel - line * static_cast<int>(by_columns.divisor)) * kColumns,
            (line - n * static_cast<int>(by_rows.divisor)) * length, n, item < count};
  }
};

/// x as a thread reads it: zeros beyond the image, and through a norm and its activation where one is given.
template <class T>
struct Source {
  int H, W, C;
  const T* x;
  InputNorm norm;
};

/// The norm of a thread's channels.
struct ThreadNorm {
  Float4 factor, offset;
  ESPALIER_SIMT static ThreadNorm of(const InputNorm& norm, int c) {
    if (!norm.factor) return {};
    return {warp::load4(norm.factor + c), warp::load4(norm.offset + c)};
  }
};

/// Columns v .. v + kWidth - 1 of row h, four channels each, on their way: what is asked for one row ahead
/// arrives while the row before it is multiplied.
template <class T, int kWidth>
struct StoredRow {
  warp::Stored4<T> pixel[kWidth];
  int v;
  bool inside;

  ESPALIER_SIMT void fetch(const Source<T>& s, int n, int h, int first, int c) {
    v = first;
    inside = h >= 0 && h < s.H;
    const T* line = s.x + ((int64_t{n} * s.H + (inside ? h : 0)) * s.W) * s.C + c;
    ESPALIER_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      pixel[i] = {};
      if (inside && v + i >= 0 && v + i < s.W) pixel[i] = warp::load_stored(line + int64_t{v + i} * s.C);
    }
  }
  /// Through the norm; what lies outside the image stays 0.
  ESPALIER_SIMT void read(const Source<T>& s, const ThreadNorm& norm, Float4 (&row)[kWidth]) const {
    ESPALIER_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      row[i] = warp::unpacked(pixel[i]);
      if (s.norm.factor && inside && v + i >= 0 && v + i < s.W) {
        ESPALIER_UNROLL
        for (int k = 0; k < 4; ++k)
          row[i].v[k] = s.norm.act(fmaf(norm.factor.v[k], row[i].v[k], norm.offset.v[k]));
      }
    }
  }
};

/// Where results go: act(sum + bias + residual). What an output reads of its own place, ahead() asks for
/// before the sum is made.
template <class T>
struct PlainOutput {
  static constexpr bool kReduces = false;
  static constexpr int kThreads = 256, kBlocks = 2, kSharedBytes = 0;
  struct State {};
  struct Ahead {};
  EpilogueOf<T> e;
  T* y;
  ESPALIER_SIMT State begin(int) const { return {}; }
  ESPALIER_SIMT Ahead ahead(int64_t) const { return {}; }
  ESPALIER_SIMT void store(State&, const Ahead&, int64_t at, int c, Float4 v) const {
    if (e.bias) add(v, warp::load4(e.bias + c));
    if (e.residual) add(v, warp::load4(e.residual + at));
    ESPALIER_UNROLL
    for (int i = 0; i < 4; ++i) v.v[i] = e.act(v.v[i]);
    warp::store4(y + at, v);
  }
  ESPALIER_SIMT void finish(State&, int) const {}
  ESPALIER_SIMT static void add(Float4& v, const Float4& other) {
    ESPALIER_UNROLL
    for (int i = 0; i < 4; ++i) v.v[i] += other.v[i];
  }
};

/// y = sum, and the moments of each part's results in parts[part, 3, C].
template <class T>
struct MomentsOutput {
  static constexpr bool kReduces = true;
  static constexpr int kThreads = 128, kBlocks = 3, kSharedBytes = channels::kMomentBytes<kThreads>;
  /// Distances from the first result.
  struct State {
    Float4 origin, sum, squares;
    float count;
  };
  struct Ahead {};
  T* y;
  float* parts;
  ESPALIER_SIMT State begin(int) const { return {}; }
  ESPALIER_SIMT Ahead ahead(int64_t) const { return {}; }
  ESPALIER_SIMT void store(State& s, const Ahead&, int64_t at, int, const Float4& v) const {
    if (s.count == 0) s.origin = v;
    s.count += 1;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      const float d = v.v[k] - s.origin.v[k];
      s.sum.v[k] += d;
      s.squares.v[k] += d * d;
    }
    warp::store4(y + at, v);
  }
  ESPALIER_SIMT void finish(State& s, int C) const {
    channels::Moments own[4] = {};
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      if (s.count == 0) continue;
      const float off = s.sum.v[k] / s.count, rest = s.squares.v[k] - s.sum.v[k] * off;
      own[k] = {s.count, s.origin.v[k] + off, rest < 0 ? 0.0f : rest};
    }
    channels::reduce_moments<kThreads>(C, own, parts + int64_t{warp::block().z} * 3 * C);
  }
};

/// What arrives is the gradient of act(factor * x + offset): dx = G * factor, and the sums of G and of
/// G * (x - mean) of each part in parts[part, 2, C], where G is the gradient before the activation.
template <class T>
struct NormGradientOutput {
  static constexpr bool kReduces = true;
  static constexpr int kThreads = 128, kBlocks = 3, kSharedBytes = channels::kSumBytes<kThreads, 2>;
  struct State {
    Float4 factor, offset, mean, sum[2];
  };
  const T* x;
  InputNorm norm;
  T* dx;
  float* parts;
  ESPALIER_SIMT State begin(int c) const {
    return {warp::load4(norm.factor + c), warp::load4(norm.offset + c), warp::load4(norm.mean + c), {}};
  }
  using Ahead = warp::Stored4<T>;
  ESPALIER_SIMT Ahead ahead(int64_t at) const { return warp::load_stored(x + at); }
  ESPALIER_SIMT void store(State& s, const Ahead& stored, int64_t at, int, Float4 v) const {
    const Float4 in = warp::unpacked(stored);
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      const float g = norm.act.gradient(fmaf(s.factor.v[k], in.v[k], s.offset.v[k]), v.v[k]);
      s.sum[0].v[k] += g;
      s.sum[1].v[k] += g * (in.v[k] - s.mean.v[k]);
      v.v[k] = g * s.factor.v[k];
    }
    warp::store4(dx + at, v);
  }
  ESPALIER_SIMT void finish(State& s, int C) const {
    channels::reduce_sums<kThreads>(C, s.sum, parts + int64_t{warp::block().z} * 2 * C);
  }
};

/// Gives every thread its strips: one each where nothing is summed up, else many of the same four channels,
/// so that the sums stay in registers; block.z is a part of the strips. walk.filter(c) loads what a channel
/// needs, walk.run(filter, strip, state) computes one strip.
template <class Output, class Walk>
ESPALIER_SIMT void for_each_strip(const Strips& strips, int parts, int C, const Output& out,
                                  const Walk& walk) {
  if constexpr (!Output::kReduces) {
    const Strip s = strips.at(warp::block().x * Output::kThreads + warp::thread());
    if (!s.valid) return;
    typename Output::State state = out.begin(s.c);
    const auto filter = walk.filter(s.c);
    walk.run(filter, s, state);
  } else {
    constexpr int kAtOnce = Output::kThreads / channels::kGroups;
    const int c = (warp::block().x * channels::kGroups + warp::thread() % channels::kGroups) * 4;
    typename Output::State state = {};
    if (c < C) {
      state = out.begin(c);
      const auto filter = walk.filter(c);
      for (int i = warp::block().z * kAtOnce + warp::thread() / channels::kGroups; i < strips.count;
           i += parts * kAtOnce) {
        Strip s = strips.at(i);
        s.c = c;
        walk.run(filter, s, state);
      }
    }
    out.finish(state, C);
  }
}

}  // namespace espalier::kernels::strips
