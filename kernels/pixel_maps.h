#pragma once
// Pooling, resizing and concatenation for the GPU, four channels or sixteen bytes a thread. The gradients
// gather, so that no two threads add to the same place.

#include "kernels/conv_shape.h"
#include "kernels/divisor.h"
#include "kernels/resize_source.h"
#include "kernels/stored_channels.h"
#include "kernels/warp.h"

namespace espalier::kernels::pixels {

using warp::Float4;

/// map.run(row, unit) for all rows and the units of each.
template <class Map>
struct ForEachUnit {
  static constexpr int kThreads = 256, kBlocks = 4, kSharedBytes = 0;

  Divisor by_units;
  int64_t items;
  Map map;

  ForEachUnit(int64_t rows, int units, const Map& map) : by_units(units), items(rows * units), map(map) {}

  int64_t blocks() const { return (items + kThreads - 1) / kThreads; }

  ESPALIER_SIMT void operator()() const {
    const int64_t item = int64_t{warp::block().x} * kThreads + warp::thread();
    if (item >= items) return;
    const int row = by_units.divide(static_cast<int>(item));
    map.run(row, static_cast<int>(item) - row * static_cast<int>(by_units.divisor));
  }
};

/// Whether 32-bit counters hold the items.
inline bool fits(int64_t rows, int64_t units) { return rows * units < (int64_t{1} << 31); }

template <class Machine, class Map>
void for_each_unit(Machine& machine, int64_t rows, int units, const Map& map) {
  if (rows == 0 || units == 0) return;
  const ForEachUnit<Map> kernel(rows, units, map);
  machine.launch(kernel, kernel.blocks(), 1);
}

/// The first largest elements of a window, and their places r*S + t.
struct Winners {
  Float4 value;
  int place[4];

  /// NaN wins, so that it is seen instead of swallowed; image points to the channels wanted.
  template <class T>
  ESPALIER_SIMT static Winners of(const ConvShape& s, const T* image, int p, int q) {
    Winners best;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) best.place[k] = -1, best.value.v[k] = 0;
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t) {
        const int h = p * s.stride - s.pad.top + r, v = q * s.stride - s.pad.left + t;
        if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
        const Float4 here = warp::load4(image + (int64_t{h} * s.W + v) * s.C);
        ESPALIER_UNROLL
        for (int k = 0; k < 4; ++k)
          if (best.place[k] < 0 || !(here.v[k] <= best.value.v[k])) {
            best.place[k] = r * s.S + t;
            best.value.v[k] = here.v[k];
          }
      }
    return best;
  }
};

/// One row is one output pixel.
template <class T>
struct MaxPoolForward {
  ConvShape s;
  const T* x;
  T* y;
  ESPALIER_SIMT void run(int row, int unit) const {
    const int Q = s.Q(), P = s.P(), q = row % Q, line = row / Q, p = line % P, c = unit * 4;
    const T* image = x + int64_t{line / P} * s.H * s.W * s.C + c;
    warp::store4(y + int64_t{row} * s.C + c, Winners::of(s, image, p, q).value);
  }
};

/// One row is one input pixel.
template <class T>
struct MaxPoolBackward {
  ConvShape s;
  const T *x, *dy;
  T* dx;
  ESPALIER_SIMT void run(int row, int unit) const {
    const int Q = s.Q(), P = s.P(), v = row % s.W, line = row / s.W, h = line % s.H, c = unit * 4;
    const int64_t n = line / s.H;
    const T* image = x + n * s.H * s.W * s.C + c;
    Float4 sum = {};
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t) {
        const int pr = h + s.pad.top - r, qt = v + s.pad.left - t;
        if (pr < 0 || qt < 0 || pr % s.stride || qt % s.stride) continue;
        const int p = pr / s.stride, q = qt / s.stride;
        if (p >= P || q >= Q) continue;
        const Winners best = Winners::of(s, image, p, q);
        const Float4 g = warp::load4(dy + ((n * P + p) * Q + q) * s.C + c);
        ESPALIER_UNROLL
        for (int k = 0; k < 4; ++k)
          if (best.place[k] == r * s.S + t) sum.v[k] += g.v[k];
      }
    warp::store4(dx + int64_t{row} * s.C + c, sum);
  }
};

/// The same where every pixel lies in one window: one row is one output pixel, which has its window's
/// gradients.
template <class T>
struct MaxPoolBackwardApart {
  ConvShape s;
  const T *x, *dy;
  T* dx;

  static bool takes(const ConvShape& s) {
    return s.stride == s.R && s.R == s.S && s.pad == Padding{} && s.H % s.R == 0 && s.W % s.R == 0;
  }
  ESPALIER_SIMT void run(int row, int unit) const {
    const int Q = s.Q(), P = s.P(), q = row % Q, line = row / Q, p = line % P, c = unit * 4;
    const int64_t first = int64_t{line / P} * s.H * s.W * s.C + c;
    const Winners best = Winners::of(s, x + first, p, q);
    const Float4 g = warp::load4(dy + int64_t{row} * s.C + c);
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t) {
        Float4 here;
        ESPALIER_UNROLL
        for (int k = 0; k < 4; ++k) here.v[k] = best.place[k] == r * s.S + t ? g.v[k] : 0.0f;
        warp::store4(dx + first + (int64_t{p * s.stride + r} * s.W + q * s.stride + t) * s.C, here);
      }
  }
};

/// Channels that a thread resizes: most of its work is to find out which pixels it mixes.
template <class T>
constexpr int kResizedChannels = sizeof(T) == 2 ? 8 : 4;

/// One row is one output pixel; kChannels are a unit.
template <class T, int kChannels = 4>
struct ResizeForward {
  ResizeShape s;
  const T* x;
  T* y;
  Divisor by_q = Divisor(s.Q), by_p = Divisor(s.P);

  ESPALIER_SIMT void run(int row, int unit) const {
    const int line = by_q.divide(row), n = by_p.divide(line), c = unit * kChannels;
    const Source h = source(s.sampling, line - n * s.P, s.H, s.P),
                 v = source(s.sampling, row - line * s.Q, s.W, s.Q);
    const T* image = x + int64_t{n} * s.H * s.W * s.C + c;
    Float4 mixed[kChannels / 4];
    mix(image, h, v, mixed);
    Stored::store(y + int64_t{row} * s.C + c, mixed);
  }

 private:
  using Stored = StoredChannels<T, kChannels>;

  ESPALIER_SIMT void mix(const T* image, const Source& h, const Source& v,
                         Float4 (&out)[kChannels / 4]) const {
    const auto at = [&](int i, int j) { return Stored::load(image + (int64_t{i} * s.W + j) * s.C); };
    const Stored low = at(h.low, v.low);
    ESPALIER_UNROLL
    for (int i = 0; i < kChannels / 4; ++i) out[i] = low.four(i);
    if (s.sampling == Sampling::kNearest) return;
    const Stored right = at(h.low, v.high), below = at(h.high, v.low), across = at(h.high, v.high);
    ESPALIER_UNROLL
    for (int i = 0; i < kChannels / 4; ++i) {
      const Float4 a = out[i], b = right.four(i), d = below.four(i), e = across.four(i);
      ESPALIER_UNROLL
      for (int k = 0; k < 4; ++k) {
        const float top = a.v[k] + v.f * (b.v[k] - a.v[k]), bottom = d.v[k] + v.f * (e.v[k] - d.v[k]);
        out[i].v[k] = top + h.f * (bottom - top);
      }
    }
  }
};

/// One row is one input pixel, for resizes of any factor.
template <class T>
struct ResizeBackward {
  ResizeShape s;
  const T* dy;
  T* dx;
  ESPALIER_SIMT void run(int row, int unit) const {
    const int v = row % s.W, line = row / s.W, h = line % s.H, c = unit * 4;
    const T* image = dy + int64_t{line / s.H} * s.P * s.Q * s.C + c;
    int p0, p1, q0, q1;
    readers(s.sampling, h, s.H, s.P, &p0, &p1);
    readers(s.sampling, v, s.W, s.Q, &q0, &q1);
    Float4 sum = {};
    for (int p = p0; p < p1; ++p) {
      const float wp = weight(source(s.sampling, p, s.H, s.P), h);
      if (wp == 0) continue;
      for (int q = q0; q < q1; ++q) {
        const float w = wp * weight(source(s.sampling, q, s.W, s.Q), v);
        if (w == 0) continue;
        const Float4 g = warp::load4(image + (int64_t{p} * s.Q + q) * s.C);
        ESPALIER_UNROLL
        for (int k = 0; k < 4; ++k) sum.v[k] += w * g.v[k];
      }
    }
    warp::store4(dx + int64_t{row} * s.C + c, sum);
  }
};

/// The outputs that read a pixel along an axis, with their weights.
struct FewReaders {
  static constexpr int kMost = 6;
  int first;
  float weights[kMost];

  ESPALIER_SIMT static FewReaders of(Sampling sampling, int pixel, int in, int out) {
    int last;
    FewReaders all;
    readers(sampling, pixel, in, out, &all.first, &last);
    while (all.first < last && weight(source(sampling, all.first, in, out), pixel) == 0) ++all.first;
    ESPALIER_UNROLL
    for (int i = 0; i < kMost; ++i) {
      const int at = all.first + i;
      all.weights[i] = at < last ? weight(source(sampling, at, in, out), pixel) : 0;
    }
    return all;
  }

  /// Whether no pixel has more. One is left over, for a weight that rounds to nothing here and not there.
  static bool suffice(Sampling sampling, int in, int out) {
    for (int pixel = 0; pixel < in; ++pixel) {
      int first, last;
      readers(sampling, pixel, in, out, &first, &last);
      const auto reads = [&](int at) { return weight(source(sampling, at, in, out), pixel) != 0; };
      while (first < last && !reads(first)) ++first;
      while (first < last && !reads(last - 1)) --last;
      if (last - first >= kMost) return false;
    }
    return true;
  }
};

/// The same where few outputs read a pixel, as when the size doubles: kChannels are a unit, and each thread
/// finds their weights once.
template <class T, int kChannels = 4>
struct ResizeBackwardOfFew {
  ResizeShape s;
  const T* dy;
  T* dx;
  Divisor by_w = Divisor(s.W), by_h = Divisor(s.H);

  static bool takes(const ResizeShape& s) {
    return FewReaders::suffice(s.sampling, s.H, s.P) && FewReaders::suffice(s.sampling, s.W, s.Q);
  }
  ESPALIER_SIMT void run(int row, int unit) const {
    const int line = by_w.divide(row), n = by_h.divide(line), c = unit * kChannels;
    const FewReaders rows = FewReaders::of(s.sampling, line - n * s.H, s.H, s.P),
                     columns = FewReaders::of(s.sampling, row - line * s.W, s.W, s.Q);
    const T* first = dy + ((int64_t{n} * s.P + rows.first) * s.Q + columns.first) * s.C + c;
    Float4 sum[kChannels / 4] = {};
    ESPALIER_UNROLL
    for (int i = 0; i < FewReaders::kMost; ++i) ESPALIER_UNROLL
    for (int j = 0; j < FewReaders::kMost; ++j) {
      const float w = rows.weights[i] * columns.weights[j];
      if (w == 0) continue;
      const Stored stored = Stored::load(first + (int64_t{i} * s.Q + j) * s.C);
      ESPALIER_UNROLL
      for (int part = 0; part < kChannels / 4; ++part) {
        const Float4 g = stored.four(part);
        ESPALIER_UNROLL
        for (int k = 0; k < 4; ++k) sum[part].v[k] += w * g.v[k];
      }
    }
    Stored::store(dx + int64_t{row} * s.C + c, sum);
  }

 private:
  using Stored = StoredChannels<T, kChannels>;
};

/// sum += x, four elements a row.
template <class T>
struct AddFours {
  const T* x;
  T* sum;
  ESPALIER_SIMT void run(int row, int) const {
    const int64_t at = int64_t{row} * 4;
    Float4 v = warp::load4(sum + at);
    const Float4 more = warp::load4(x + at);
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) v.v[k] += more.v[k];
    warp::store4(sum + at, v);
  }
};

/// y = x in another type, four elements a row.
template <class From, class To>
struct CastFours {
  const From* x;
  To* y;
  ESPALIER_SIMT void run(int row, int) const {
    const int64_t at = int64_t{row} * 4;
    warp::store4(y + at, warp::load4(x + at));
  }
};

/// One row's bytes in units of a Unit; strides and offsets are whole units.
template <class Unit>
struct CopyUnits {
  int64_t from_stride, to_stride;  ///< in units
  const Unit* from;
  Unit* to;
  ESPALIER_SIMT void run(int row, int unit) const {
    to[row * to_stride + unit] = from[row * from_stride + unit];
  }
};

template <class Machine, class Unit>
bool copy_in_units(Machine& machine, int64_t rows, int64_t bytes, const void* from, int64_t from_stride,
                   void* to, int64_t to_stride) {
  constexpr int64_t kUnit = sizeof(Unit);
  const auto whole = [](auto value) { return value % kUnit == 0; };
  if (!whole(bytes) || !whole(from_stride) || !whole(to_stride) ||
      !whole(reinterpret_cast<uintptr_t>(from)) || !whole(reinterpret_cast<uintptr_t>(to)) ||
      !fits(rows, bytes / kUnit))
    return false;
  for_each_unit(machine, rows, static_cast<int>(bytes / kUnit),
                CopyUnits<Unit>{from_stride / kUnit, to_stride / kUnit, static_cast<const Unit*>(from),
                                static_cast<Unit*>(to)});
  return true;
}

/// Copies `bytes` of every row between rows of different lengths, in the largest units that fit.
template <class Machine>
bool copy_rows(Machine& machine, int64_t rows, int64_t bytes, const void* from, int64_t from_stride, void* to,
               int64_t to_stride) {
  return copy_in_units<Machine, warp::Word4>(machine, rows, bytes, from, from_stride, to, to_stride) ||
         copy_in_units<Machine, uint32_t>(machine, rows, bytes, from, from_stride, to, to_stride) ||
         copy_in_units<Machine, uint8_t>(machine, rows, bytes, from, from_stride, to, to_stride);
}

}  // namespace espalier::kernels::pixels
