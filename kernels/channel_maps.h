#pragma once
// What a batch norm does to every element, for the GPU: a thread has four channels of kRows neighbouring
// rows, and loads its channels' values once.

#include "kernels/channel_sums.h"
#include "kernels/divisor.h"

namespace espalier::kernels::channels {

/// map.run(state, position) for all of [rows, channels].
template <class Map>
struct ForEachElement {
  static constexpr int kThreads = 256, kBlocks = 4, kSharedBytes = 0, kRows = 4;

  Divisor by_groups;
  int64_t rows, items;
  Map map;

  ForEachElement(int64_t rows, int channels, const Map& map)
      : by_groups(channels / 4), rows(rows), items((rows + kRows - 1) / kRows * (channels / 4)), map(map) {}

  int64_t blocks() const { return (items + kThreads - 1) / kThreads; }

  ESPALIER_SIMT void operator()() const {
    const int64_t item = int64_t{warp::block().x} * kThreads + warp::thread();
    if (item >= items) return;
    const int groups = static_cast<int>(by_groups.divisor), line = by_groups.divide(static_cast<int>(item));
    const int c = static_cast<int>(item - int64_t{line} * groups) * 4;
    const typename Map::State state = map.state(c);
    ESPALIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const int64_t row = int64_t{line} * kRows + i;
      if (row < rows) map.run(state, {row * groups * 4 + c, c});
    }
  }
};

struct BatchNormForward {
  using State = BatchNormState;
  BatchNormProblem b;
  float* y;
  ESPALIER_SIMT State state(int c) const { return State::of(b, c); }
  ESPALIER_SIMT void run(const State& s, const Position& p) const {
    Float4 v = BatchNormElements::of(b, s, p).before;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) v.v[k] = b.act(v.v[k]);
    warp::store4(y + p.at, v);
  }
};

struct BatchNormBackwardX {
  struct State {
    BatchNormState norm;
    Float4 dscale, dshift;
  };
  BatchNormProblem b;
  const float *dy, *dscale, *dshift;
  bool batch_statistics;
  float *dx, *dresidual;
  ESPALIER_SIMT State state(int c) const {
    State s = {BatchNormState::of(b, c), {}, {}};
    if (batch_statistics) s.dscale = warp::load4(dscale + c), s.dshift = warp::load4(dshift + c);
    return s;
  }
  ESPALIER_SIMT void run(const State& s, const Position& p) const {
    const BatchNormElements e = BatchNormElements::of(b, s.norm, p);
    const float share = 1.0f / static_cast<float>(b.rows);
    Float4 g = warp::load4(dy + p.at), out;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      g.v[k] = b.act.gradient(e.before.v[k], g.v[k]);
      const float mean = (s.dshift.v[k] + e.normalised.v[k] * s.dscale.v[k]) * share;
      out.v[k] = s.norm.scale.v[k] * s.norm.inverse.v[k] * (g.v[k] - mean);
    }
    warp::store4(dx + p.at, out);
    if (dresidual) warp::store4(dresidual + p.at, g);
  }
};

template <class T>
struct NormalizeForward {
  struct State {
    Float4 factor, offset;
  };
  const T* x;
  InputNorm norm;
  const T* residual;
  T* y;
  ESPALIER_SIMT State state(int c) const {
    return {warp::load4(norm.factor + c), warp::load4(norm.offset + c)};
  }
  ESPALIER_SIMT void run(const State& s, const Position& p) const {
    Float4 v = warp::load4(x + p.at);
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) v.v[k] = fmaf(s.factor.v[k], v.v[k], s.offset.v[k]);
    if (residual) {
      const Float4 added = warp::load4(residual + p.at);
      ESPALIER_UNROLL
      for (int k = 0; k < 4; ++k) v.v[k] += added.v[k];
    }
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) v.v[k] = norm.act(v.v[k]);
    warp::store4(y + p.at, v);
  }
};

/// dx = G * factor + the moments' term, dresidual = G; dx may be dy.
template <class T>
struct NormalizeBackward {
  struct State {
    typename NormGradient<T>::State norm;
    Float4 constant, slope;
  };
  NormGradient<T> gradient;
  MomentsTerm moments;
  T *dx, *dresidual;
  ESPALIER_SIMT State state(int c) const {
    State s = {gradient.state(c), {}, {}};
    if (moments.slope)
      s.constant = warp::load4(moments.constant + c), s.slope = warp::load4(moments.slope + c);
    return s;
  }
  ESPALIER_SIMT void run(const State& s, const Position& p) const {
    Float4 own = {};
    if (!gradient.y || moments.slope) own = warp::load4(gradient.x + p.at);
    const Float4 g = gradient.at(s.norm, p, own);
    Float4 out;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) out.v[k] = g.v[k] * s.norm.factor.v[k];
    if (moments.slope) {
      ESPALIER_UNROLL
      for (int k = 0; k < 4; ++k) out.v[k] += s.constant.v[k] + s.slope.v[k] * (own.v[k] - s.norm.mean.v[k]);
    }
    warp::store4(dx + p.at, out);
    if (dresidual) warp::store4(dresidual + p.at, g);
  }
};

/// whole = g + constant + slope * (y - mean); whole may be g.
template <class T>
struct WholeGradient {
  struct State {
    Float4 constant, slope, mean;
  };
  OutputGradient<T> dy;
  T* whole;
  ESPALIER_SIMT State state(int c) const {
    return {warp::load4(dy.constant + c), warp::load4(dy.slope + c), warp::load4(dy.mean + c)};
  }
  ESPALIER_SIMT void run(const State& s, const Position& p) const {
    const Float4 g = warp::load4(dy.g + p.at), y = warp::load4(dy.y + p.at);
    Float4 out;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) out.v[k] = g.v[k] + (s.constant.v[k] + s.slope.v[k] * (y.v[k] - s.mean.v[k]));
    warp::store4(whole + p.at, out);
  }
};

template <class Machine, class Map>
void for_each_element(Machine& machine, int64_t rows, int channels, const Map& map) {
  const ForEachElement<Map> kernel(rows, channels, map);
  machine.launch(kernel, kernel.blocks(), 1);
}

}  // namespace espalier::kernels::channels
