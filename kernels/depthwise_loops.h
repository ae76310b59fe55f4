#pragma once
// The depthwise 3x3 loops: forward, and the gradients of data and filter.

#include "kernels/depthwise_strips.h"

namespace espalier::kernels::strips {

/// Nine taps of four channels, and the norm of what is read through them.
struct Filter {
  Float4 tap[kTaps];
  ThreadNorm norm;
};

/// The forward pass. Every input row is read once per strip and goes to the output rows that see it, in the
/// order of the filter's rows.
template <int kStride, class T, class Output>
struct Forward {
  static constexpr int kThreads = Output::kThreads, kBlocks = Output::kBlocks,
                       kSharedBytes = Output::kSharedBytes;
  static constexpr int kWidth = (kColumns - 1) * kStride + kFilter;

  Strips strips;
  Source<T> source;
  int P, Q, top, left;
  bool turned;  ///< takes the filter from its end, for the data gradient
  const float* w;
  int parts;
  Output out;

  ESPALIER_SIMT void operator()() const { for_each_strip(strips, parts, source.C, out, *this); }

  ESPALIER_SIMT Filter filter(int c) const {
    Filter f;
    ESPALIER_UNROLL
    for (int i = 0; i < kTaps; ++i) f.tap[i] = warp::load4(w + (turned ? kTaps - 1 - i : i) * source.C + c);
    f.norm = ThreadNorm::of(source.norm, c);
    return f;
  }

  ESPALIER_SIMT void run(const Filter& f, const Strip& s, typename Output::State& state) const {
    const Float4* filter = f.tap;
    const ThreadNorm& norm = f.norm;
    const int end = s.row + strips.length < P ? s.row + strips.length : P;
    const int first = s.row * kStride - top, v = s.column * kStride - left;

    StoredRow<T, kWidth> coming;
    Float4 row[kWidth];
    coming.fetch(source, s.n, first, v, s.c);
    if constexpr (kStride == 1) {
      Float4 oldest[kColumns] = {}, middle[kColumns] = {}, newest[kColumns];
      for (int i = 0; i < end - s.row + kFilter - 1; ++i) {
        const bool stores = i >= kFilter - 1;
        const int p = s.row + i - (kFilter - 1);
        typename Output::Ahead ahead[kColumns];
        if (stores) look_ahead(s, p, ahead);
        coming.read(source, norm, row);
        coming.fetch(source, s.n, first + i + 1, v, s.c);
        add_row(row, filter + 2 * kFilter, oldest);
        add_row(row, filter + kFilter, middle);
        ESPALIER_UNROLL
        for (int k = 0; k < kColumns; ++k) newest[k] = {};
        add_row(row, filter, newest);
        if (stores) store(s, p, oldest, ahead, state);
        move(middle, oldest);
        move(newest, middle);
      }
    } else {
      Float4 sum[kColumns] = {};
      for (int p = s.row; p < end; ++p) {
        const int h = first + (p - s.row) * kStride;
        typename Output::Ahead ahead[kColumns];
        look_ahead(s, p, ahead);
        if (p == s.row) {
          coming.read(source, norm, row);
          coming.fetch(source, s.n, h + 1, v, s.c);
        }
        add_row(row, filter, sum);
        coming.read(source, norm, row);
        coming.fetch(source, s.n, h + 2, v, s.c);
        add_row(row, filter + kFilter, sum);
        coming.read(source, norm, row);
        coming.fetch(source, s.n, h + 3, v, s.c);
        add_row(row, filter + 2 * kFilter, sum);
        store(s, p, sum, ahead, state);
        ESPALIER_UNROLL
        for (int k = 0; k < kColumns; ++k) sum[k] = {};
      }
    }
  }

 private:
  ESPALIER_SIMT static void add_row(const Float4 (&row)[kWidth], const Float4* filter,
                                    Float4 (&sum)[kColumns]) {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) ESPALIER_UNROLL
    for (int t = 0; t < kFilter; ++t) multiply_add(sum[k], row[k * kStride + t], filter[t]);
  }
  template <int kCount>
  ESPALIER_SIMT static void move(const Float4 (&from)[kCount], Float4 (&to)[kCount]) {
    ESPALIER_UNROLL
    for (int k = 0; k < kCount; ++k) to[k] = from[k];
  }
  ESPALIER_SIMT int64_t place(const Strip& s, int p, int k) const {
    return ((int64_t{s.n} * P + p) * Q + s.column + k) * source.C + s.c;
  }
  ESPALIER_SIMT void look_ahead(const Strip& s, int p, typename Output::Ahead (&ahead)[kColumns]) const {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k)
      if (s.column + k < Q) ahead[k] = out.ahead(place(s, p, k));
  }
  ESPALIER_SIMT void store(const Strip& s, int p, const Float4 (&sum)[kColumns],
                           const typename Output::Ahead (&ahead)[kColumns],
                           typename Output::State& state) const {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k)
      if (s.column + k < Q) out.store(state, ahead[k], place(s, p, k), s.c, sum[k]);
  }
};

/// The data gradient with stride 2. With h + top = 2a or 2a + 1 and v + left = 2b or 2b + 1, the four pixels
/// of (a, b) see output pixels (a, b), (a, b-1), (a-1, b), (a-1, b-1) only. A strip is one b and some a.
template <class T, class Output>
struct BackwardXStride2 {
  static constexpr int kThreads = Output::kThreads, kBlocks = Output::kBlocks,
                       kSharedBytes = Output::kSharedBytes;

  Strips strips;  ///< over pairs of columns b and rows a
  int H, W, P, Q, C, top, left;
  const T* dy;
  const float* w;
  int parts;
  Output out;

  ESPALIER_SIMT void operator()() const { for_each_strip(strips, parts, C, out, *this); }

  ESPALIER_SIMT Filter filter(int c) const {
    Filter f;
    ESPALIER_UNROLL
    for (int i = 0; i < kTaps; ++i) f.tap[i] = warp::load4(w + i * C + c);
    return f;
  }

  ESPALIER_SIMT void run(const Filter& filter, const Strip& s, typename Output::State& state) const {
    const Float4* f = filter.tap;
    const int b = s.column / kColumns, rows = (H - 1 + top) / 2 + 1;
    const int end = s.row + strips.length < rows ? s.row + strips.length : rows;
    const Source<T> source{P, Q, C, dy, {}};
    StoredRow<T, 2> coming;  // columns b - 1 and b
    Float4 above[2], here[2];
    coming.fetch(source, s.n, s.row - 1, b - 1, s.c);
    coming.read(source, {}, above);
    coming.fetch(source, s.n, s.row, b - 1, s.c);
    for (int a = s.row; a < end; ++a) {
      const int h = 2 * a - top, v = 2 * b - left;
      typename Output::Ahead ahead[4];
      ESPALIER_UNROLL
      for (int i = 0; i < 4; ++i)
        if (inside(h + i / 2, v + i % 2)) ahead[i] = out.ahead(place(s, h + i / 2, v + i % 2));
      coming.read(source, {}, here);
      coming.fetch(source, s.n, a + 1, b - 1, s.c);
      Float4 sum = {};
      multiply_add(sum, here[1], f[0]);
      multiply_add(sum, here[0], f[2]);
      multiply_add(sum, above[1], f[6]);
      multiply_add(sum, above[0], f[8]);
      store(s, h, v, sum, ahead[0], state);
      sum = {};
      multiply_add(sum, here[1], f[1]);
      multiply_add(sum, above[1], f[7]);
      store(s, h, v + 1, sum, ahead[1], state);
      sum = {};
      multiply_add(sum, here[1], f[3]);
      multiply_add(sum, here[0], f[5]);
      store(s, h + 1, v, sum, ahead[2], state);
      sum = {};
      multiply_add(sum, here[1], f[4]);
      store(s, h + 1, v + 1, sum, ahead[3], state);
      above[0] = here[0];
      above[1] = here[1];
    }
  }

 private:
  ESPALIER_SIMT bool inside(int h, int v) const { return h >= 0 && h < H && v >= 0 && v < W; }
  ESPALIER_SIMT int64_t place(const Strip& s, int h, int v) const {
    return ((int64_t{s.n} * H + h) * W + v) * C + s.c;
  }
  ESPALIER_SIMT void store(const Strip& s, int h, int v, const Float4& sum,
                           const typename Output::Ahead& ahead, typename Output::State& state) const {
    if (inside(h, v)) out.store(state, ahead, place(s, h, v), s.c, sum);
  }
};

/// sums[part, r, t, c] = sum over the part's strips of dy * x. A block is 8 groups of four channels by 32
/// threads that take strips in turn.
template <int kStride, class T>
struct BackwardW {
  static constexpr int kGroups = channels::kGroups, kThreads = 256, kBlocks = 2;
  static constexpr int kWidth = (kColumns - 1) * kStride + kFilter;
  static constexpr int kSharedBytes = channels::kSumBytes<kThreads, kTaps>;
  static constexpr int kStripsAtOnce = kThreads / kGroups;

  Strips strips;  ///< over columns, rows and images; one group of channels
  Source<T> source;
  int P, Q, top, left, parts;
  const T* dy;
  float* sums;

  ESPALIER_SIMT void operator()() const {
    const int group = warp::thread() % kGroups, c = (warp::block().x * kGroups + group) * 4;
    const int part = warp::block().z;
    Float4 sum[kTaps] = {};
    if (c < source.C) {
      const ThreadNorm norm = ThreadNorm::of(source.norm, c);
      for (int i = part * kStripsAtOnce + warp::thread() / kGroups; i < strips.count;
           i += parts * kStripsAtOnce)
        add_strip(strips.at(i), norm, c, sum);
    }
    channels::reduce_sums<kThreads>(source.C, sum, sums + int64_t{part} * kTaps * source.C);
  }

 private:
  /// One row of dy, on its way.
  struct StoredGradient {
    warp::Stored4<T> g[kColumns];
  };
  ESPALIER_SIMT void fetch_gradient(const Strip& s, int p, int end, int c, StoredGradient& coming) const {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      coming.g[k] = {};
      if (p < end && s.column + k < Q)
        coming.g[k] = warp::load_stored(dy + ((int64_t{s.n} * P + p) * Q + s.column + k) * source.C + c);
    }
  }
  ESPALIER_SIMT static void read_gradient(const StoredGradient& coming, Float4 (&g)[kColumns]) {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) g[k] = warp::unpacked(coming.g[k]);
  }

  /// One row of x with one row of dy: filter row `row_of_filter`.
  ESPALIER_SIMT static void add_products(const Float4 (&row)[kWidth], const Float4 (&g)[kColumns],
                                         Float4* sum) {
    ESPALIER_UNROLL
    for (int t = 0; t < kFilter; ++t) ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) multiply_add(sum[t], row[k * kStride + t], g[k]);
  }

  ESPALIER_SIMT void add_strip(const Strip& s, const ThreadNorm& norm, int c, Float4 (&sum)[kTaps]) const {
    const int end = s.row + strips.length < P ? s.row + strips.length : P;
    const int first = s.row * kStride - top, v = s.column * kStride - left;
    StoredRow<T, kWidth> coming;
    StoredGradient coming_gradient;
    Float4 row[kWidth];
    coming.fetch(source, s.n, first, v, c);
    fetch_gradient(s, s.row, end, c, coming_gradient);
    if constexpr (kStride == 1) {
      Float4 oldest[kColumns] = {}, middle[kColumns] = {}, newest[kColumns];
      for (int i = 0; i < end - s.row + kFilter - 1; ++i) {
        coming.read(source, norm, row);
        read_gradient(coming_gradient, newest);
        coming.fetch(source, s.n, first + i + 1, v, c);
        fetch_gradient(s, s.row + i + 1, end, c, coming_gradient);
        add_products(row, newest, sum);
        add_products(row, middle, sum + kFilter);
        add_products(row, oldest, sum + 2 * kFilter);
        ESPALIER_UNROLL
        for (int k = 0; k < kColumns; ++k) oldest[k] = middle[k], middle[k] = newest[k];
      }
    } else {
      Float4 g[kColumns];
      coming.read(source, norm, row);
      for (int p = s.row; p < end; ++p) {
        const int h = first + (p - s.row) * kStride;
        read_gradient(coming_gradient, g);
        fetch_gradient(s, p + 1, end, c, coming_gradient);
        coming.fetch(source, s.n, h + 1, v, c);
        add_products(row, g, sum);
        coming.read(source, norm, row);
        coming.fetch(source, s.n, h + 2, v, c);
        add_products(row, g, sum + kFilter);
        coming.read(source, norm, row);
        add_products(row, g, sum + 2 * kFilter);
      }
    }
  }
};

}  // namespace espalier::kernels::strips
