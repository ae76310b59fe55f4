#pragma once
// Sums over the rows of [rows, channels] for the GPU: of a gradient, of what a batch norm needs, and moments.
// Two stages, each in an order that depends on the shape alone. A block is 8 groups of four channels by 32
// rows at a time; block.z is a part of the rows.

#include "kernels/batch_norm.h"
#include "kernels/channel_reduce.h"
#include "kernels/normed_conv.h"
#include "kernels/sum_parts.h"
#include "kernels/warp.h"

namespace espalier::kernels::channels {

constexpr int kThreads = 256, kBlocks = 4, kRowsAtOnce = kThreads / kGroups;

/// How rows are split: in contiguous parts of `length` rows.
struct RowParts {
  int64_t rows;
  int channels;
  int64_t length;

  RowParts(int64_t rows, int channels) : rows(rows), channels(channels) {
    // As many blocks as an H100 holds at once, and no more: a few blocks of a second round would cost a
    // round.
    constexpr int64_t kBlocksAtOnce = 132 * channels::kBlocks, kLeast = 8 * kRowsAtOnce;
    const int64_t wanted = blocks() < kBlocksAtOnce ? kBlocksAtOnce / blocks() : 1;
    const int64_t even = (rows + wanted - 1) / wanted, least = even > kLeast ? even : kLeast;
    length = (least + kRowsAtOnce - 1) / kRowsAtOnce * kRowsAtOnce;
  }
  /// Parts of a length that the caller wants.
  RowParts(int64_t rows, int channels, int64_t length) : rows(rows), channels(channels), length(length) {}
  int64_t blocks() const { return (channels / 4 + kGroups - 1) / kGroups; }
  int count() const { return static_cast<int>((rows + length - 1) / length); }
};

/// The element (row, c .. c+3) of a thread, which sees the same four channels in every row.
struct Position {
  int64_t at;
  int c;
};

/// use(load(position)) for rows first, first + kRowsAtOnce .. before last, in order. kRows rows are loaded
/// before the first is used: the memory is fast enough only for threads that wait for many bytes at once.
template <int kRows, class Load, class Use>
ESPALIER_SIMT void for_each_row(int64_t first, int64_t last, int channels, int c, const Load& load,
                                const Use& use) {
  using Loaded = decltype(load(Position{}));
  int left = static_cast<int>((last - first + kRowsAtOnce - 1) / kRowsAtOnce);
  const int64_t step = int64_t{kRowsAtOnce} * channels;
  int64_t at = first * channels + c;
  Loaded some[kRows] = {};
  for (; left >= kRows; left -= kRows) {
    ESPALIER_UNROLL
    for (int i = 0; i < kRows; ++i, at += step) some[i] = load({at, c});
    ESPALIER_UNROLL
    for (int i = 0; i < kRows; ++i) use(some[i]);
  }
  ESPALIER_UNROLL
  for (int i = 0; i < kRows - 1; ++i, at += step)
    if (i < left) some[i] = load({at, c});
  ESPALIER_UNROLL
  for (int i = 0; i < kRows - 1; ++i)
    if (i < left) use(some[i]);
}

/// Rows that a thread waits for at once, of `operands` tensors of T: as many as its registers hold.
template <class T>
constexpr int rows_in_flight(int operands) {
  if (operands > 1) return sizeof(T) < 4 ? 3 : 2;
  return 16 / static_cast<int>(sizeof(T));
}

/// sums[part, i, c] = sum over the part's rows of the i-th term of `terms`: Terms::kCount of them, made of
/// what Terms::load() brings and Terms::State (a thread's channel values, loaded once).
template <class Terms>
struct Sums {
  static constexpr int kThreads = channels::kThreads, kBlocks = channels::kBlocks;
  static constexpr int kCount = Terms::kCount;
  static constexpr int kSharedBytes = kSumBytes<kThreads, kCount>;

  RowParts parts;
  Terms terms;
  float* sums;

  ESPALIER_SIMT void operator()() const {
    const int group = warp::thread() % kGroups, c = (warp::block().x * kGroups + group) * 4;
    Float4 sum[kCount] = {};
    if (c < parts.channels) {
      const typename Terms::State state = terms.state(c);
      const int64_t first = warp::block().z * parts.length, end = first + parts.length;
      const int64_t last = end < parts.rows ? end : parts.rows;
      for_each_row<Terms::kRows>(
          first + warp::thread() / kGroups, last, parts.channels, c,
          [&](const Position& p) { return terms.load(p); },
          [&](const typename Terms::Loaded& loaded) { terms.add(state, loaded, sum); });
    }
    if constexpr (requires { terms.divisor; }) {
      ESPALIER_UNROLL
      for (int k = 0; k < 4; ++k) sum[0].v[k] /= terms.divisor;
    }
    reduce_sums<kThreads>(parts.channels, sum, sums + int64_t{warp::block().z} * kCount * parts.channels);
  }
};

/// The elements themselves.
template <class T = float>
struct Elements {
  static constexpr int kCount = 1, kRows = rows_in_flight<T>(1);
  struct State {};
  using Loaded = warp::Stored4<T>;
  const T* x;
  ESPALIER_SIMT State state(int) const { return {}; }
  ESPALIER_SIMT Loaded load(const Position& p) const { return warp::load_stored(x + p.at); }
  ESPALIER_SIMT void add(const State&, const Loaded& loaded, Float4 (&sum)[1]) const {
    const Float4 v = warp::unpacked(loaded);
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) sum[0].v[k] += v.v[k];
  }
};

/// The elements over a number: of rows, for means.
template <class T>
struct Means : Elements<T> {
  float divisor;
};

/// A batch norm's channel values.
struct BatchNormState {
  Float4 mean, inverse, scale, shift;
  ESPALIER_SIMT static BatchNormState of(const BatchNormProblem& b, int c) {
    return {warp::load4(b.mean + c), warp::load4(b.inverse_deviation + c), warp::load4(b.scale + c),
            warp::load4(b.shift + c)};
  }
};

/// What a batch norm reads of a position.
struct BatchNormInputs {
  Float4 x, residual;
  ESPALIER_SIMT static BatchNormInputs of(const BatchNormProblem& b, const Position& p) {
    return {warp::load4(b.x + p.at), b.residual ? warp::load4(b.residual + p.at) : Float4{}};
  }
};

/// The four numbers of a position before the activation, and normalised.
struct BatchNormElements {
  Float4 normalised, before;
  ESPALIER_SIMT static BatchNormElements of(const BatchNormProblem& b, const BatchNormState& s,
                                            const Position& p) {
    return of(b, s, BatchNormInputs::of(b, p));
  }
  ESPALIER_SIMT static BatchNormElements of(const BatchNormProblem& b, const BatchNormState& s,
                                            const BatchNormInputs& in) {
    BatchNormElements e;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      e.normalised.v[k] = (in.x.v[k] - s.mean.v[k]) * s.inverse.v[k];
      e.before.v[k] = e.normalised.v[k] * s.scale.v[k] + s.shift.v[k];
    }
    if (b.residual) {
      ESPALIER_UNROLL
      for (int k = 0; k < 4; ++k) e.before.v[k] += in.residual.v[k];
    }
    return e;
  }
};

/// dscale's terms, then dshift's.
struct BatchNormGradients {
  static constexpr int kCount = 2, kRows = rows_in_flight<float>(3);
  using State = BatchNormState;
  struct Loaded {
    BatchNormInputs in;
    Float4 dy;
  };
  BatchNormProblem b;
  const float* dy;
  ESPALIER_SIMT State state(int c) const { return State::of(b, c); }
  ESPALIER_SIMT Loaded load(const Position& p) const {
    return {BatchNormInputs::of(b, p), warp::load4(dy + p.at)};
  }
  ESPALIER_SIMT void add(const State& s, const Loaded& loaded, Float4 (&sum)[2]) const {
    const BatchNormElements e = BatchNormElements::of(b, s, loaded.in);
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      const float g = b.act.gradient(e.before.v[k], loaded.dy.v[k]);
      sum[0].v[k] += g * e.normalised.v[k];
      sum[1].v[k] += g;
    }
  }
};

/// dz * act'(.), from the output y where there is one, else from x and the norm.
template <class T>
struct NormGradient {
  const T *x, *y, *dy;
  InputNorm norm;
  struct State {
    Float4 factor, offset, mean;
  };
  ESPALIER_SIMT State state(int c) const {
    State s = {warp::load4(norm.factor + c), {}, {}};
    if (!y) s.offset = warp::load4(norm.offset + c);
    if (norm.mean) s.mean = warp::load4(norm.mean + c);
    return s;
  }
  ESPALIER_SIMT bool linear() const { return norm.act.slope == 1.0f && norm.act.cap == Activation::kNoCap; }
  ESPALIER_SIMT Float4 at(const State& s, const Position& p, const Float4& own) const {
    const Float4 g = warp::load4(dy + p.at);
    return linear() ? g : of(s, g, y ? warp::load4(y + p.at) : own);
  }
  /// `out` is y's or else x's.
  ESPALIER_SIMT Float4 of(const State& s, Float4 g, const Float4& out) const {
    if (linear()) return g;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      const float z = y ? out.v[k] : norm.act(fmaf(s.factor.v[k], out.v[k], s.offset.v[k]));
      const float above = z < norm.act.cap ? g.v[k] : 0.0f, below = norm.act.slope * g.v[k];
      g.v[k] = z > 0 ? above : below;
    }
    return g;
  }
};

/// The sums of normalize_backward().
template <class T>
struct NormSums {
  static constexpr int kCount = 2, kRows = rows_in_flight<T>(3);
  using State = typename NormGradient<T>::State;
  struct Loaded {
    warp::Stored4<T> x, dy, out;
  };
  NormGradient<T> gradient;
  ESPALIER_SIMT State state(int c) const { return gradient.state(c); }
  ESPALIER_SIMT Loaded load(const Position& p) const {
    Loaded l = {warp::load_stored(gradient.x + p.at), warp::load_stored(gradient.dy + p.at), {}};
    l.out = gradient.y && !gradient.linear() ? warp::load_stored(gradient.y + p.at) : l.x;
    return l;
  }
  ESPALIER_SIMT void add(const State& s, const Loaded& loaded, Float4 (&sum)[2]) const {
    const Float4 x = warp::unpacked(loaded.x),
                 g = gradient.of(s, warp::unpacked(loaded.dy), warp::unpacked(loaded.out));
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      sum[0].v[k] += g.v[k];
      sum[1].v[k] += g.v[k] * (x.v[k] - s.mean.v[k]);
    }
  }
};

/// parts[part] = count, mean less x[0, c], and sum of squares about the mean, [3, channels]. A thread takes
/// distances from its first element, and all means are distances from the first row: so nothing large
/// cancels.
template <class T>
struct PartMoments {
  static constexpr int kThreads = channels::kThreads, kBlocks = channels::kBlocks;
  static constexpr int kSharedBytes = kMomentBytes<kThreads>;

  RowParts parts;
  const T* x;
  float* out;

  ESPALIER_SIMT void operator()() const {
    const int group = warp::thread() % kGroups, c = (warp::block().x * kGroups + group) * 4;
    const int64_t first = warp::block().z * parts.length, end = first + parts.length;
    const int64_t last = end < parts.rows ? end : parts.rows, start = first + warp::thread() / kGroups;
    Moments own[4] = {};
    if (c < parts.channels && start < last) {
      const Float4 origin = warp::load4(x + start * parts.channels + c), common = warp::load4(x + c);
      Float4 sum = {}, squares = {};
      for_each_row<rows_in_flight<T>(1)>(
          start, last, parts.channels, c, [&](const Position& p) { return warp::load_stored(x + p.at); },
          [&](const warp::Stored4<T>& stored) {
            const Float4 v = warp::unpacked(stored);
            ESPALIER_UNROLL
            for (int k = 0; k < 4; ++k) {
              const float d = v.v[k] - origin.v[k];
              sum.v[k] += d;
              squares.v[k] += d * d;
            }
          });
      const float n = static_cast<float>((last - start + kRowsAtOnce - 1) / kRowsAtOnce);
      ESPALIER_UNROLL
      for (int k = 0; k < 4; ++k) {
        const float off = sum.v[k] / n, rest = squares.v[k] - sum.v[k] * off;
        own[k] = {n, (origin.v[k] - common.v[k]) + off, rest < 0 ? 0.0f : rest};
      }
    }
    reduce_moments<kThreads>(parts.channels, own, out + int64_t{warp::block().z} * 3 * parts.channels);
  }
};

/// sums[part, c] = sum over rows part, part + parts, ... of x[row, c], for channels that fill no groups of
/// four: a thread has one channel of one part, neighbours have neighbouring elements.
template <class T>
struct SumColumns {
  static constexpr int kThreads = 256, kBlocks = 4, kSharedBytes = 0;
  static constexpr int64_t kThreadsWanted = 64 * kThreads;  ///< busy enough, and not too many parts

  int64_t rows, parts;
  int channels;
  const T* x;
  float* sums;

  SumColumns(int64_t rows, int channels, const T* x)
      : rows(rows), parts(kThreadsWanted / channels), channels(channels), x(x), sums(nullptr) {
    if (parts > rows) parts = rows;
    if (parts < 1) parts = 1;
  }
  int64_t blocks() const { return (parts * channels + kThreads - 1) / kThreads; }

  ESPALIER_SIMT void operator()() const {
    const int64_t item = int64_t{warp::block().x} * kThreads + warp::thread();
    if (item >= parts * channels) return;
    float sum = 0;
    ESPALIER_UNROLL_BY_4
    for (int64_t at = item; at < rows * channels; at += parts * channels) sum += x[at];
    sums[item] = sum;
  }
};

/// sum[c] = sum over rows of x[row, c], any channels.
template <class Machine, class T>
void sum_columns(Machine& machine, int64_t rows, int channels, const T* x, float* sum) {
  SumColumns<T> kernel(rows, channels, x);
  kernel.sums = machine.scratch(kernel.parts * channels);
  machine.launch(kernel, kernel.blocks(), 1);
  sum_parts(machine, SumParts{channels, static_cast<int>(kernel.parts), kernel.sums, sum});
}

/// Whole groups of four channels, and rows that a float counts exactly.
inline bool takes(int64_t rows, int channels) { return channels % 4 == 0 && rows < (int64_t{1} << 31); }

template <class Machine, class Terms>
void sum(Machine& machine, int64_t rows, int channels, const Terms& terms, float* first, float* second) {
  const RowParts parts(rows, channels);
  const int64_t columns = int64_t{Terms::kCount} * channels;
  float* sums = machine.scratch(parts.count() * columns);
  machine.launch(Sums<Terms>{parts, terms, sums}, parts.blocks(), parts.count());
  sum_parts(machine, SumParts{columns, parts.count(), sums, first, second, channels});
}

template <class Machine, class T>
void moments(Machine& machine, int64_t rows, int channels, const T* x, float* mean, float* variance) {
  const RowParts parts(rows, channels);
  float* sums = machine.scratch(moment_floats(parts.count(), channels));
  machine.launch(PartMoments<T>{parts, x, sums}, parts.blocks(), parts.count());
  merge_moments(machine, parts.count(), channels, x, sums, mean, variance);
}

}  // namespace espalier::kernels::channels
