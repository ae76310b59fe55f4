#pragma once
// How the depthwise 3x3 loops reach memory. A block walks down its tiles row by row: what a step needs of
// every tensor lies in shared memory, where asynchronous copies bring it some steps ahead, so that many bytes
// are on their way while few registers wait for them. A thread has two channels of a strip of neighbouring
// columns and keeps the window of rows that it sees in registers.

#include <utility>

#include "kernels/channel_reduce.h"
#include "kernels/conv_shape.h"
#include "kernels/divisor.h"
#include "kernels/warp.h"

namespace espalier::kernels::strips {

using warp::Float2;

constexpr int kFilter = 3, kTaps = kFilter * kFilter;

/// The problems that the loops take.
inline bool takes(const ConvShape& s) {
  // A row with what lies beside it, whose elements a Piece counts.
  constexpr int64_t kMost = int64_t{1} << 31, kMostOfRow = int64_t{1} << 30, kBeside = 1024;
  return s.R == kFilter && s.S == kFilter && (s.stride == 1 || s.stride == 2) && s.C % 4 == 0 &&
         int64_t{s.N} * (s.H + s.pad.top + 4) * (s.W + s.pad.left + 4) * (s.C / 4) < kMost &&
         (s.W + s.pad.left + s.pad.right + kBeside) * s.C < kMostOfRow;
}

constexpr int kRowThreads = 256, kRowBlocks = 2;

/// A row of a tensor in shared memory: strips of kStep pixels, and kHalo more behind the last. The k-th
/// pixels of all strips lie together, so that thread t finds its own at element 2t of each such plane:
/// neighbours read neighbouring banks, and planes are constants apart. The pixels behind a strip are the
/// first of the next, so the first planes have room for the strip behind the last.
template <class T, int kStep, int kHalo>
struct LineLayout {
  /// Neighbouring pixels of few channels are written at once; they begin in different banks.
  static constexpr int kPad = 64 / static_cast<int>(sizeof(T));
  static constexpr int kShort = 2 * kRowThreads + kPad, kLong = 4 * kRowThreads + kPad;
  ESPALIER_HD static constexpr int plane(int k) {
    return k < kHalo ? k * kLong : kHalo * kLong + (k - kHalo) * kShort;
  }
  static constexpr int kMost = kHalo * kLong + (kStep - kHalo) * kShort;
  static constexpr int kElements = 2 * (kStep + kHalo) * kRowThreads;  ///< that may be copied to it
  static_assert(kHalo <= kStep);

  ESPALIER_HD static int at(int pixel, int pairs) { return plane(pixel % kStep) + pixel / kStep * 2 * pairs; }
  ESPALIER_HD static int pixels(int strips) { return strips * kStep + kHalo; }
};

/// How a pass over [images, rows, columns, channels] is cut: into groups of `pairs` pairs of channels, and
/// tiles of `strips` strips of columns and `length` rows. block.x is a group, block.z a part of the tiles.
struct Cut {
  static constexpr int64_t kMultiprocessors = 132;  ///< of an H100; a constant, for the same sums anywhere

  int channels, columns, rows, units;  ///< units: columns of one strip
  int pairs = 0, strips = 0, groups = 0, length = 1, parts = 1, tiles = 0;
  Divisor by_pairs, by_columns, by_rows;

  /// `lead` rows are read before a tile's first result.
  Cut(int channels, int columns, int rows, int images, int units, int lead)
      : channels(channels), columns(columns), rows(rows), units(units) {
    choose_threads();
    choose_rows(images, lead);
    by_pairs = Divisor(pairs);
    by_columns = Divisor(tiles_across());
    by_rows = Divisor((rows + length - 1) / length);
  }

 private:
  static int quotient(int64_t a, int64_t b) { return static_cast<int>((a + b - 1) / b); }
  int tiles_across() const { return quotient(columns, units * strips); }

  /// Whole 32-byte sectors of channels, or all of them. Threads that wait cost less than those that work.
  void choose_threads() {
    constexpr int64_t kOfBlock = 64;
    int64_t least = 0;
    const int all = (channels / 2 + 3) / 4 * 4, wanted = quotient(columns, units);
    const auto offer = [&](int p) {
      const int across = quotient(wanted, kRowThreads / p), of_this = quotient(wanted, across);
      const int64_t cost = int64_t{quotient(channels / 2, p)} * across * (of_this * p + kOfBlock);
      if (least && cost >= least) return;
      least = cost;
      pairs = p;
      strips = of_this;
    };
    if (all <= kRowThreads) offer(all);
    for (int p = 8; p <= kRowThreads && p < all + 8; p += 8) offer(p);
    groups = quotient(channels / 2, pairs);
  }

  /// The work of the block with the most decides.
  void choose_rows(int images, int lead) {
    const int64_t at_work = kMultiprocessors * kRowBlocks, wanted = groups < at_work ? at_work / groups : 1;
    int64_t least = 0;
    for (int cuts = 1; cuts <= rows; ++cuts) {
      const int of_this = quotient(rows, cuts);
      const int64_t all = int64_t{tiles_across()} * quotient(rows, of_this) * images;
      const int64_t used = wanted < all ? wanted : all, cost = quotient(all, used) * int64_t{of_this + lead};
      if (least && cost >= least) continue;
      least = cost;
      length = of_this;
      parts = static_cast<int>(used);
      tiles = static_cast<int>(all);
    }
  }
};

/// Where a block is: a step of a tile. `row` and `column` are the tile's first.
struct Cursor {
  int tile, step, steps, n, row, column;

  ESPALIER_SIMT void enter(const Cut& cut, int lead) {
    const int line = cut.by_columns.divide(tile);
    n = cut.by_rows.divide(line);
    row = (line - n * static_cast<int>(cut.by_rows.divisor)) * cut.length;
    column = (tile - line * static_cast<int>(cut.by_columns.divisor)) * cut.strips * cut.units;
    steps = (cut.length < cut.rows - row ? cut.length : cut.rows - row) + lead;
    step = 0;
  }
  ESPALIER_SIMT bool inside(const Cut& cut) const { return tile < cut.tiles; }
  ESPALIER_SIMT void next(const Cut& cut, int lead) {
    if (++step < steps) return;
    tile += cut.parts;
    if (inside(cut)) enter(cut, lead);
  }
};

/// Pixels of one row of an image, from `column` on; not wanted ones come as zeros.
template <class T>
struct Line {
  const T* x;
  int H, W, row, column;
  bool wanted = true;
};

/// One of a thread's copies to a line: byte `to` of it from element `from` behind the first of the image's
/// row, if that lay at the line's first pixel. Every thread keeps its own in shared memory, where they cost
/// no registers.
struct alignas(8) Piece {
  int to, from;
  static constexpr int kNothing = -(1 << 30);  ///< `from` where channels end: before every row
};

/// A thread's share of the copies to a layout's lines: 16 bytes at once, or 8 where channels fill no 16.
template <class T, class Layout>
struct Copier {
  static constexpr int kOf16 = 16 / static_cast<int>(sizeof(T)), kOf8 = kOf16 / 2;
  static constexpr int most_pieces(int elements) {
    return (Layout::kElements + elements * kRowThreads - 1) / (elements * kRowThreads);
  }
  static constexpr bool kMayBeNarrow = sizeof(T) < 4;
  static constexpr int kPieces = most_pieces(kMayBeNarrow ? kOf8 : kOf16),
                       kBytes = kPieces * kRowThreads * static_cast<int>(sizeof(Piece));

  int C, rounds;
  bool wide;
  Piece* pieces;

  /// `table` counts bytes of the shared memory.
  ESPALIER_SIMT Copier(const Cut& cut, int table)
      : C(cut.channels),
        wide(!kMayBeNarrow || cut.channels % kOf16 == 0),
        pieces(reinterpret_cast<Piece*>(warp::shared() + table) + warp::thread()) {
    const int elements = wide ? kOf16 : kOf8, of_pixel = 2 * cut.pairs / elements,
              pixels = Layout::pixels(cut.strips);
    rounds = (pixels * of_pixel + kRowThreads - 1 - warp::thread()) / kRowThreads;
    for (int k = 0; k < rounds; ++k) {
      const int number = k * kRowThreads + warp::thread(), i = number / of_pixel,
                inner = (number - i * of_pixel) * elements, c = warp::block().x * 2 * cut.pairs + inner;
      pieces[k * kRowThreads] = {(Layout::at(i, cut.pairs) + inner) * static_cast<int>(sizeof(T)),
                                 c < C ? i * C + c : Piece::kNothing};
    }
  }
  /// Asks for a line; `to` counts elements of the shared memory.
  ESPALIER_SIMT void ask(const Line<T>& line, int n, int to) const {
    const bool inside = line.wanted && static_cast<uint32_t>(line.row) < static_cast<uint32_t>(line.H);
    // Kept, or every copy would add up its address from the tensor's first element.
    const T* row = warp::kept(line.x + int64_t{inside ? (n * line.H + line.row) * line.W : 0} * C);
    unsigned char* shared = warp::shared() + to * static_cast<int>(sizeof(T));
    const uint32_t elements = inside ? static_cast<uint32_t>(line.W) * static_cast<uint32_t>(C) : 0;
    if (wide)
      copy<16>(row, line.column * C, elements, shared);
    else if constexpr (kMayBeNarrow)
      copy<8>(row, line.column * C, elements, shared);
  }

 private:
  template <int kOfCopy>
  ESPALIER_SIMT void copy(const T* row, int first, uint32_t elements, unsigned char* shared) const {
    ESPALIER_UNROLL
    for (int k = 0; k < most_pieces(kOfCopy / static_cast<int>(sizeof(T))); ++k) {
      if (k >= rounds) break;
      const Piece piece = warp::load_whole(pieces + k * kRowThreads);
      const int from = piece.from + first;
      const bool valid = static_cast<uint32_t>(from) < elements;
      warp::copy_async<kOfCopy>(shared + piece.to, row + (valid ? from : 0), valid);
    }
  }
};

/// A thread's two channels of its strip.
struct Thread {
  int c, column;  ///< of its strip's first result, from the tile's; no tile has that of a thread without work

  ESPALIER_SIMT explicit Thread(const Cut& cut) {
    const int strip = cut.by_pairs.divide(warp::thread()), pair = warp::thread() - strip * cut.pairs;
    c = warp::kept((warp::block().x * cut.pairs + pair) * 2);
    column = warp::kept(strip < cut.strips && c < cut.channels ? strip * cut.units : cut.columns);
  }
  ESPALIER_SIMT bool works(const Cut& cut, int tile_column = 0) const {
    return tile_column + column < cut.columns;
  }
};

/// Element i of the thread's strip of a line at `line`.
template <class T, int kStep, int kHalo>
struct StripReader {
  using Layout = LineLayout<T, kStep, kHalo>;
  const T *own, *next;
  ESPALIER_SIMT StripReader(const Cut& cut, int line) {
    own = reinterpret_cast<const T*>(warp::shared()) + line + 2 * warp::thread();
    next = own + 2 * cut.pairs;
  }
  ESPALIER_SIMT Float2 operator[](int i) const {
    return warp::load2(i < kStep ? own + Layout::plane(i) : next + Layout::plane(i - kStep));
  }
};

/// to[i, c] = sum over the block's strips of sum[i]. All threads must come here.
template <int kCount>
constexpr int kPairSumBytes = kCount* kRowThreads* static_cast<int>(sizeof(Float2));
template <int kCount>
ESPALIER_SIMT void reduce_pairs(const Cut& cut, const Float2 (&sum)[kCount], float* to) {
  Float2* partial = reinterpret_cast<Float2*>(warp::shared());
  if (warp::thread() < cut.strips * cut.pairs) {
    ESPALIER_UNROLL
    for (int i = 0; i < kCount; ++i) partial[i * cut.strips * cut.pairs + warp::thread()] = sum[i];
  }
  warp::barrier();
  for (int item = warp::thread(); item < kCount * cut.pairs; item += kRowThreads) {
    const int i = cut.by_pairs.divide(item), pair = item - i * cut.pairs;
    const int c = (warp::block().x * cut.pairs + pair) * 2;
    if (c >= cut.channels) continue;
    Float2 total = {};
    for (int strip = 0; strip < cut.strips; ++strip) {
      const Float2 one = warp::load_whole(partial + (i * cut.strips + strip) * cut.pairs + pair);
      total.v[0] += one.v[0];
      total.v[1] += one.v[1];
    }
    warp::store2(to + int64_t{i} * cut.channels + c, total);
  }
}

/// to[0, c], to[1, c], to[2, c] = count, mean and squares of all strips' `own`. All threads must come here.
constexpr int kPairMomentBytes = 2 * kRowThreads * static_cast<int>(sizeof(channels::Moments));
ESPALIER_SIMT void reduce_pair_moments(const Cut& cut, const channels::Moments (&own)[2], float* to) {
  channels::Moments* partial = reinterpret_cast<channels::Moments*>(warp::shared());
  if (warp::thread() < cut.strips * cut.pairs) {
    ESPALIER_UNROLL
    for (int k = 0; k < 2; ++k) partial[warp::thread() * 2 + k] = own[k];
  }
  warp::barrier();
  for (int item = warp::thread(); item < 2 * cut.pairs; item += kRowThreads) {
    const int c = warp::block().x * cut.pairs * 2 + item;
    if (c >= cut.channels) continue;
    channels::Moments total = partial[item];
    for (int strip = 1; strip < cut.strips; ++strip)
      total = channels::Moments::merge(total, partial[strip * cut.pairs * 2 + item]);
    to[c] = total.count;
    to[cut.channels + c] = total.mean;
    to[2 * cut.channels + c] = total.squares;
  }
}

/// The kernel around a pass, which has
///   Type, Copiers, kStageElements, kLead, kPhases, kResultBytes, and a State of a thread's registers;
///   Copiers of its lines; ask(copiers, cursor, at): asks for a step's lines;
///   begin(thread), step<kPhase>(cut, cursor, thread, at, state), finish(cut, state).
/// All threads come to a step, and those without work read something too: so what they read takes no branch,
/// behind which the compiler would move it from register to register.
/// Registers that a step hands to the next change places instead of moving: kPhases steps later they are
/// where they were.
template <class Pass>
struct Walk {
  using T = typename Pass::Type;
  using Copiers = typename Pass::Copiers;
  static constexpr int kThreads = kRowThreads, kBlocks = kRowBlocks, kLead = Pass::kLead;
  static constexpr int kStageBytes = Pass::kStageElements * static_cast<int>(sizeof(T));
  static constexpr int kHolds = (112 * 1024 - Copiers::kBytes) / kStageBytes,
                       kStages = kHolds < 4 ? kHolds : 4;
  static_assert(kStages >= 2);
  static constexpr int kLineBytes = Copiers::kBytes + kStages * kStageBytes;
  static constexpr int kSharedBytes = kLineBytes > Pass::kResultBytes ? kLineBytes : Pass::kResultBytes;

  Cut cut;
  Pass pass;

  ESPALIER_SIMT void operator()() const {
    const Thread thread(cut);
    const Copiers copiers(cut);
    Place place = {};
    place.here.tile = place.coming.tile = warp::block().z;
    place.here.enter(cut, kLead);
    place.coming.enter(cut, kLead);
    for (int i = 0; i < kStages - 1; ++i) ask(copiers, place, i);
    typename Pass::State state = {};
    if (thread.works(cut)) pass.begin(thread, state);
    walk(copiers, thread, place, state, std::make_integer_sequence<int, Pass::kPhases>());
    warp::barrier();  // what they leave behind takes the place of the lines
    pass.finish(cut, state);
  }

 private:
  struct Place {
    Cursor here, coming;
    int stage;
  };

  template <int... kPhase>
  ESPALIER_SIMT void walk(const Copiers& copiers, const Thread& thread, Place& place,
                          typename Pass::State& state, std::integer_sequence<int, kPhase...>) const {
    while ((step<kPhase>(copiers, thread, place, state) && ...)) {
    }
  }
  ESPALIER_SIMT static int elements_at(int stage) {
    return Copiers::kBytes / static_cast<int>(sizeof(T)) + stage * Pass::kStageElements;
  }
  ESPALIER_SIMT void ask(const Copiers& copiers, Place& place, int stage) const {
    if (place.coming.inside(cut)) {
      pass.ask(copiers, place.coming, elements_at(stage));
      place.coming.next(cut, kLead);
    }
    warp::commit_copies();
  }
  template <int kPhase>
  ESPALIER_SIMT bool step(const Copiers& copiers, const Thread& thread, Place& place,
                          typename Pass::State& state) const {
    if (!place.here.inside(cut)) return false;
    warp::wait_copies<kStages - 2>();
    warp::barrier();  // everybody's copies are here, and nobody needs the stage before
    ask(copiers, place, place.stage ? place.stage - 1 : kStages - 1);
    pass.template step<kPhase>(cut, place.here, thread, elements_at(place.stage), state);
    place.here.next(cut, kLead);
    place.stage = place.stage + 1 < kStages ? place.stage + 1 : 0;
    return true;
  }
};

}  // namespace espalier::kernels::strips
