#pragma once
// Depthwise 3x3 convolutions, four channels a thread: one 16-byte load brings what a thread needs of a pixel.
// The filter stays in registers while the thread walks down a strip of two columns.

#include "kernels/divisor.h"
#include "kernels/normed_conv.h"
#include "kernels/sum_parts.h"
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
struct Source {
  int H, W, C;
  const float* x;
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

/// Columns v .. v + kWidth - 1 of row h, four channels each.
template <int kWidth>
ESPALIER_SIMT void load_row(const Source& s, const ThreadNorm& norm, int n, int h, int v, int c,
                            Float4 (&row)[kWidth]) {
  const bool inside = h >= 0 && h < s.H;
  const float* line = s.x + ((int64_t{n} * s.H + (inside ? h : 0)) * s.W) * s.C + c;
  ESPALIER_UNROLL
  for (int i = 0; i < kWidth; ++i) {
    if (inside && v + i >= 0 && v + i < s.W) {
      row[i] = warp::load4(line + int64_t{v + i} * s.C);
      if (s.norm.factor) ESPALIER_UNROLL
      for (int k = 0; k < 4; ++k)
        row[i].v[k] = s.norm.act(fmaf(norm.factor.v[k], row[i].v[k], norm.offset.v[k]));
    } else {
      row[i] = {};
    }
  }
}

/// y = act(sum over taps + bias + residual). Every input row is read once per strip and goes to the output
/// rows that see it, in the order of the filter's rows.
template <int kStride>
struct Forward {
  static constexpr int kThreads = 256, kBlocks = 2, kSharedBytes = 0;
  static constexpr int kWidth = (kColumns - 1) * kStride + kFilter;

  Strips strips;
  Source source;
  int P, Q, top, left;
  bool turned;  ///< takes the filter from its end, for the data gradient
  const float* w;
  Epilogue e;
  float* y;

  ESPALIER_SIMT void operator()() const {
    const Strip s = strips.at(warp::block().x * kThreads + warp::thread());
    if (!s.valid) return;
    Float4 filter[kTaps];
    ESPALIER_UNROLL
    for (int i = 0; i < kTaps; ++i)
      filter[i] = warp::load4(w + (turned ? kTaps - 1 - i : i) * source.C + s.c);
    const ThreadNorm norm = ThreadNorm::of(source.norm, s.c);
    const int end = s.row + strips.length < P ? s.row + strips.length : P;
    const int first = s.row * kStride - top, v = s.column * kStride - left;

    Float4 row[kWidth], next[kWidth];
    load_row(source, norm, s.n, first, v, s.c, row);
    if constexpr (kStride == 1) {
      Float4 oldest[kColumns] = {}, middle[kColumns] = {}, newest[kColumns];
      for (int i = 0; i < end - s.row + kFilter - 1; ++i) {
        load_row(source, norm, s.n, first + i + 1, v, s.c, next);
        add_row(row, filter + 2 * kFilter, oldest);
        add_row(row, filter + kFilter, middle);
        ESPALIER_UNROLL
        for (int k = 0; k < kColumns; ++k) newest[k] = {};
        add_row(row, filter, newest);
        if (i >= kFilter - 1) store(s, s.row + i - (kFilter - 1), oldest);
        move(middle, oldest);
        move(newest, middle);
        move(next, row);
      }
    } else {
      Float4 sum[kColumns] = {};
      for (int p = s.row; p < end; ++p) {
        load_row(source, norm, s.n, first + (p - s.row) * kStride + 1, v, s.c, next);
        add_row(row, filter, sum);
        load_row(source, norm, s.n, first + (p - s.row) * kStride + 2, v, s.c, row);
        add_row(next, filter + kFilter, sum);
        add_row(row, filter + 2 * kFilter, sum);
        store(s, p, sum);
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
  ESPALIER_SIMT void store(const Strip& s, int p, const Float4 (&sum)[kColumns]) const {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      if (s.column + k >= Q) break;
      const int64_t at = ((int64_t{s.n} * P + p) * Q + s.column + k) * source.C + s.c;
      Float4 out = sum[k];
      if (e.bias) add(out, warp::load4(e.bias + s.c));
      if (e.residual) add(out, warp::load4(e.residual + at));
      ESPALIER_UNROLL
      for (int i = 0; i < 4; ++i) out.v[i] = e.act(out.v[i]);
      warp::store4(y + at, out);
    }
  }
  ESPALIER_SIMT static void add(Float4& v, const Float4& other) {
    ESPALIER_UNROLL
    for (int i = 0; i < 4; ++i) v.v[i] += other.v[i];
  }
};

/// The data gradient with stride 2. With h + top = 2a or 2a + 1 and v + left = 2b or 2b + 1, the four pixels
/// of (a, b) see output pixels (a, b), (a, b-1), (a-1, b), (a-1, b-1) only. A strip is one b and some a.
struct BackwardXStride2 {
  static constexpr int kThreads = 256, kBlocks = 2, kSharedBytes = 0;

  Strips strips;  ///< over pairs of columns b and rows a
  int H, W, P, Q, C, top, left;
  const float *dy, *w;
  float* dx;

  ESPALIER_SIMT void operator()() const {
    const Strip s = strips.at(warp::block().x * kThreads + warp::thread());
    if (!s.valid) return;
    Float4 f[kTaps];
    ESPALIER_UNROLL
    for (int i = 0; i < kTaps; ++i) f[i] = warp::load4(w + i * C + s.c);
    const int b = s.column / kColumns, rows = (H - 1 + top) / 2 + 1;
    const int end = s.row + strips.length < rows ? s.row + strips.length : rows;
    const Source source{P, Q, C, dy, {}};
    Float4 above[2], here[2];  // columns b - 1 and b
    load_row(source, {}, s.n, s.row - 1, b - 1, s.c, above);
    for (int a = s.row; a < end; ++a) {
      load_row(source, {}, s.n, a, b - 1, s.c, here);
      const int h = 2 * a - top, v = 2 * b - left;
      Float4 sum = {};
      multiply_add(sum, here[1], f[0]);
      multiply_add(sum, here[0], f[2]);
      multiply_add(sum, above[1], f[6]);
      multiply_add(sum, above[0], f[8]);
      store(s, h, v, sum);
      sum = {};
      multiply_add(sum, here[1], f[1]);
      multiply_add(sum, above[1], f[7]);
      store(s, h, v + 1, sum);
      sum = {};
      multiply_add(sum, here[1], f[3]);
      multiply_add(sum, here[0], f[5]);
      store(s, h + 1, v, sum);
      sum = {};
      multiply_add(sum, here[1], f[4]);
      store(s, h + 1, v + 1, sum);
      above[0] = here[0];
      above[1] = here[1];
    }
  }

 private:
  ESPALIER_SIMT void store(const Strip& s, int h, int v, const Float4& sum) const {
    if (h >= 0 && h < H && v >= 0 && v < W)
      warp::store4(dx + ((int64_t{s.n} * H + h) * W + v) * C + s.c, sum);
  }
};

/// sums[part, r, t, c] = sum over the part's strips of dy * x. A block is 8 groups of four channels by 32
/// threads that take strips in turn.
template <int kStride>
struct BackwardW {
  static constexpr int kGroups = 8, kThreads = 256, kBlocks = 2, kWarps = kThreads / warp::kLanes;
  static constexpr int kWidth = (kColumns - 1) * kStride + kFilter;
  static constexpr int kSharedBytes = kWarps * kTaps * kGroups * static_cast<int>(sizeof(Float4));
  static constexpr int kStripsAtOnce = kThreads / kGroups;

  Strips strips;  ///< over columns, rows and images; one group of channels
  Source source;
  int P, Q, top, left, parts;
  const float* dy;
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
    reduce(group, sum);
  }

 private:
  ESPALIER_SIMT void load_gradient(const Strip& s, int p, int end, int c, Float4 (&g)[kColumns]) const {
    ESPALIER_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      if (p < end && s.column + k < Q)
        g[k] = warp::load4(dy + ((int64_t{s.n} * P + p) * Q + s.column + k) * source.C + c);
      else
        g[k] = {};
    }
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
    Float4 row[kWidth];
    if constexpr (kStride == 1) {
      Float4 oldest[kColumns] = {}, middle[kColumns] = {}, newest[kColumns];
      for (int i = 0; i < end - s.row + kFilter - 1; ++i) {
        load_row(source, norm, s.n, first + i, v, c, row);
        load_gradient(s, s.row + i, end, c, newest);
        add_products(row, newest, sum);
        add_products(row, middle, sum + kFilter);
        add_products(row, oldest, sum + 2 * kFilter);
        ESPALIER_UNROLL
        for (int k = 0; k < kColumns; ++k) oldest[k] = middle[k], middle[k] = newest[k];
      }
    } else {
      Float4 g[kColumns];
      load_row(source, norm, s.n, first, v, c, row);
      for (int p = s.row; p < end; ++p) {
        load_gradient(s, p, end, c, g);
        add_products(row, g, sum);
        load_row(source, norm, s.n, first + (p - s.row) * kStride + 1, v, c, row);
        add_products(row, g, sum + kFilter);
        load_row(source, norm, s.n, first + (p - s.row) * kStride + 2, v, c, row);
        add_products(row, g, sum + 2 * kFilter);
      }
    }
  }

  ESPALIER_SIMT void reduce(int group, Float4 (&sum)[kTaps]) const {
    ESPALIER_UNROLL
    for (int i = 0; i < kTaps; ++i) ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) ESPALIER_UNROLL
    for (int mask = kGroups; mask < warp::kLanes; mask *= 2)
      sum[i].v[k] += warp::shuffle_xor(sum[i].v[k], mask);
    Float4* partial = reinterpret_cast<Float4*>(warp::shared());
    if (warp::thread() % warp::kLanes < kGroups) ESPALIER_UNROLL
    for (int i = 0; i < kTaps; ++i)
      partial[(warp::thread() / warp::kLanes * kTaps + i) * kGroups + group] = sum[i];
    warp::barrier();
    const int tap = warp::thread() / kGroups, c = (warp::block().x * kGroups + group) * 4;
    if (tap >= kTaps || c >= source.C) return;
    Float4 total = {};
    for (int i = 0; i < kWarps; ++i) ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) total.v[k] += partial[(i * kTaps + tap) * kGroups + group].v[k];
    warp::store4(sums + (int64_t{warp::block().z} * kTaps + tap) * source.C + c, total);
  }
};

/// Threads that keep a large GPU's memory busy; a constant, so that sums do not depend on the device.
constexpr int64_t kThreadsWanted = 256 * 1024;

/// Rows of a strip: as many as leave enough threads, and at least 4, since a strip reads two rows more.
inline int strip_length(int channels, int columns, int rows, int images) {
  const int64_t whole = int64_t{channels / 4} * ((columns + 1) / 2) * images;
  const int64_t cuts = (kThreadsWanted + whole - 1) / whole, length = (rows + cuts - 1) / cuts;
  return static_cast<int>(length < 4 ? 4 : length);
}

inline bool takes(const ConvShape& s) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return s.R == kFilter && s.S == kFilter && (s.stride == 1 || s.stride == 2) && s.C % 4 == 0 &&
         int64_t{s.N} * (s.H + s.pad.top + 4) * (s.W + s.pad.left + 4) * (s.C / 4) < kMost;
}

inline Source source_of(const ConvShape& s, const float* x, const InputNorm& norm) {
  return {s.H, s.W, s.C, x, norm};
}

inline int64_t blocks_of(const Strips& strips, int threads) { return (strips.count + threads - 1) / threads; }

template <class Machine>
void forward(Machine& machine, const ConvShape& s, const float* x, const InputNorm& norm, const float* w,
             const Epilogue& e, float* y) {
  const Strips strips(s.C, s.Q(), s.P(), s.N, strip_length(s.C, s.Q(), s.P(), s.N));
  const auto run = [&](auto kernel) { machine.launch(kernel, blocks_of(strips, kernel.kThreads), 1); };
  const Source source = source_of(s, x, norm);
  if (s.stride == 1)
    run(Forward<1>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, false, w, e, y});
  else
    run(Forward<2>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, false, w, e, y});
}

template <class Machine>
void backward_x(Machine& machine, const ConvShape& s, const float* dy, const float* w, float* dx) {
  if (s.stride == 1) {
    const Strips strips(s.C, s.W, s.H, s.N, strip_length(s.C, s.W, s.H, s.N));
    machine.launch(Forward<1>{strips,
                              {s.P(), s.Q(), s.C, dy, {}},
                              s.H,
                              s.W,
                              kFilter - 1 - s.pad.top,
                              kFilter - 1 - s.pad.left,
                              true,
                              w,
                              {},
                              dx},
                   blocks_of(strips, Forward<1>::kThreads), 1);
    return;
  }
  const int rows = (s.H - 1 + s.pad.top) / 2 + 1, columns = ((s.W - 1 + s.pad.left) / 2 + 1) * kColumns;
  const Strips strips(s.C, columns, rows, s.N, strip_length(s.C, columns, rows, s.N));
  machine.launch(BackwardXStride2{strips, s.H, s.W, s.P(), s.Q(), s.C, s.pad.top, s.pad.left, dy, w, dx},
                 blocks_of(strips, BackwardXStride2::kThreads), 1);
}

template <class Machine>
void backward_w(Machine& machine, const ConvShape& s, const float* x, const InputNorm& norm, const float* dy,
                float* dw) {
  constexpr int kBlocksWanted = 512, kGroups = BackwardW<1>::kGroups, kAtOnce = BackwardW<1>::kStripsAtOnce;
  const int blocks = (s.C / 4 + kGroups - 1) / kGroups;
  const Strips strips(4, s.Q(), s.P(), s.N, strip_length(s.C, s.Q(), s.P(), s.N));
  const int64_t most = (strips.count + kAtOnce - 1) / kAtOnce, wanted = (kBlocksWanted + blocks - 1) / blocks;
  const int parts = static_cast<int>(wanted < most ? wanted : most);
  float* sums = parts > 1 ? machine.scratch(int64_t{parts} * kTaps * s.C) : dw;
  const Source source = source_of(s, x, norm);
  if (s.stride == 1)
    machine.launch(BackwardW<1>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, parts, dy, sums}, blocks,
                   parts);
  else
    machine.launch(BackwardW<2>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, parts, dy, sums}, blocks,
                   parts);
  if (parts > 1) machine.launch(SumParts{kTaps * s.C, parts, sums, dw}, SumParts::blocks(kTaps * s.C), 1);
}

}  // namespace espalier::kernels::strips
