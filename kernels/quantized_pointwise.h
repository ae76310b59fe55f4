#pragma once
// Small INT8 matrix products: convolutions of one pixel at batch 1, and fully connected layers. What such a
// launch costs is waiting, so a block asks for all of its operands at once, its warps divide the depth among
// them, and what they have is added up in shared memory: one wait for memory, one launch.

#include "kernels/divisor.h"
#include "kernels/quantized_output.h"
#include "kernels/tensor_core.h"

namespace espalier::kernels::tiles {

/// y[m, k] = sum over c of x[m, c] * w[k, c], c < depth <= kDepth. A block computes kM x kN of them. kUnit is
/// the bytes of one copy, in which depth is whole.
template <class Math, int kRowWarps, int kUnit>
struct QuantizedPointwise {
  static constexpr int kThreads = 256, kBlocks = 3, kWarps = kThreads / warp::kLanes;
  static constexpr int kDepthWarps = kWarps / kRowWarps;
  static constexpr int kM = 16 * kRowWarps, kN = 32, kRows = kM + kN;
  static constexpr int kDepth = kRowWarps == 1 ? 1280 : kRowWarps == 2 ? 640 : 256;
  static constexpr int kRun = 64;  ///< bytes of the depth that a warp takes at once
  /// Half of all banks apart, so that eight lanes' loads of 16 bytes hit all of them.
  static constexpr int kPitch = kDepth + 64;
  static constexpr int kSumPitch = kN + 4;
  static constexpr int kSharedBytes = kRows * kPitch;
  static_assert(kDepth % 128 == 0 && kDepthWarps * kM * kSumPitch * 4 <= kSharedBytes);

  int rows, columns, depth;
  Divisor by_columns;  ///< block.x = row tile * column tiles + column tile
  const char *x, *w;
  CodeOutput out;

  static int64_t blocks(int64_t rows, int64_t columns) {
    return (rows + kM - 1) / kM * ((columns + kN - 1) / kN);
  }
  static int64_t bytes(int64_t rows, int64_t columns, int depth) {
    return blocks(rows, columns) * kRows * depth;
  }

  ESPALIER_SIMT void operator()() const {
    const int row_tile = by_columns.divide(warp::block().x);
    const int first_row = row_tile * kM,
              first_column = (warp::block().x - row_tile * static_cast<int>(by_columns.divisor)) * kN;
    const int runs = (depth + kRun - 1) / kRun;
    fetch(first_row, first_column, runs);
    warp::commit_copies();

    const int column = first_column + warp::thread() % kGroups * 4;
    const CodeOutput::Filters filters = out.filters(column);
    uint32_t residual[kItems];
    ESPALIER_UNROLL
    for (int i = 0; i < kItems; ++i) {
      const int row = first_row + row_of(i);
      residual[i] = 0;
      if (row_of(i) < kM && row < rows && column < columns)
        residual[i] = out.residual(int64_t{row} * columns + column);
    }

    warp::wait_copies<0>();
    warp::barrier();
    int32_t sum[kTiles][4] = {};
    multiply(runs, sum);
    warp::barrier();  // sums take the place of the operands
    keep(sum);
    warp::barrier();
    ESPALIER_UNROLL
    for (int i = 0; i < kItems; ++i) {
      const int row = first_row + row_of(i);
      if (row_of(i) >= kM || row >= rows || column >= columns) continue;
      int32_t total[4];
      add_up(row_of(i), total);
      out.store(filters, residual[i], int64_t{row} * columns + column, column, total);
    }
  }

 private:
  static constexpr int kRunsEach = (kDepth / kRun + kDepthWarps - 1) / kDepthWarps;  ///< of a warp
  static constexpr int kTiles = kN / 8;   ///< of an instruction's columns
  static constexpr int kGroups = kN / 4;  ///< of four columns, one a thread
  static constexpr int kItems = (kM * kGroups + kThreads - 1) / kThreads;

  ESPALIER_SIMT static int row_of(int item) { return (warp::thread() + item * kThreads) / kGroups; }

  /// Filter 4 * column + tile lies in row tile * 8 + column, so that a lane's sums lie side by side.
  ESPALIER_SIMT static int filter_of(int row) { return row % 8 * 4 + row / 8; }

  /// Starts the copies of both operands, with zeros up to whole runs.
  ESPALIER_SIMT void fetch(int first_row, int first_column, int runs) const {
    constexpr int kLanes = 16, kRowsAtOnce = kThreads / kLanes;
    static_assert(kRows % kRowsAtOnce == 0);
    const int lane = warp::thread() % kLanes, first = warp::thread() / kLanes;
    for (int at = lane * kUnit; at < runs * kRun; at += kLanes * kUnit) {
      unsigned char* to = warp::shared() + at;
      ESPALIER_UNROLL
      for (int row = first, i = 0; i < kRows; i += kRowsAtOnce, row += kRowsAtOnce) {
        const bool left = i < kM;  // kM is a multiple of kRowsAtOnce
        const int line = left ? first_row + row : first_column + filter_of(row - kM);
        const bool valid = at < depth && line < (left ? rows : columns);
        warp::copy_async<kUnit>(to + row * kPitch, (left ? x : w) + (valid ? int64_t{line} * depth + at : 0),
                                valid);
      }
    }
  }

  ESPALIER_SIMT static const uint32_t* words(int row, int run, int t) {
    return reinterpret_cast<const uint32_t*>(warp::shared() + row * kPitch + run * kRun) + 4 * t;
  }

  ESPALIER_SIMT void multiply(int runs, int32_t (&sum)[kTiles][4]) const {
    const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
    const int group = lane / 4, t = lane % 4, row = number % kRowWarps * 16 + group;
    ESPALIER_UNROLL
    for (int i = 0; i < kRunsEach; ++i) {
      const int run = number / kRowWarps + i * kDepthWarps;
      if (run >= runs) break;
      const typename Math::A a =
          Math::left(warp::load4(words(row, run, t)), warp::load4(words(row + 8, run, t)));
      ESPALIER_UNROLL
      for (int j = 0; j < kTiles; ++j)
        Math::multiply(sum[j], a, Math::right(warp::load4(words(kM + j * 8 + group, run, t))));
    }
  }

  /// Sums [depth warp, kM, kSumPitch].
  ESPALIER_SIMT static int32_t* kept(int depth_warp, int row) {
    return reinterpret_cast<int32_t*>(warp::shared()) + (depth_warp * kM + row) * kSumPitch;
  }
  ESPALIER_SIMT void keep(const int32_t (&sum)[kTiles][4]) const {
    const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
    ESPALIER_UNROLL
    for (int half = 0; half < 2; ++half) {
      int32_t* to = kept(number / kRowWarps, number % kRowWarps * 16 + lane / 4 + 8 * half) + lane % 4 * 8;
      ESPALIER_UNROLL
      for (int side = 0; side < 2; ++side) {
        warp::Word4 v;
        ESPALIER_UNROLL
        for (int j = 0; j < kTiles; ++j) v.v[j] = static_cast<uint32_t>(sum[j][2 * half + side]);
        *reinterpret_cast<warp::Word4*>(to + 4 * side) = v;
      }
    }
  }
  ESPALIER_SIMT void add_up(int row, int32_t (&total)[4]) const {
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j) total[j] = 0;
    ESPALIER_UNROLL
    for (int i = 0; i < kDepthWarps; ++i) {
      const warp::Word4 v =
          warp::load4(reinterpret_cast<const uint32_t*>(kept(i, row) + warp::thread() % kGroups * 4));
      ESPALIER_UNROLL
      for (int j = 0; j < 4; ++j) total[j] += static_cast<int32_t>(v.v[j]);
    }
  }
};

/// Launches the loop and returns true where a launch would mostly wait: one pass of blocks over operands that
/// the cache delivers in about a microsecond. The tallest tile that leaves every multiprocessor a block reads
/// least.
template <class Machine, class Math>
struct SmallPointwise {
  static constexpr int64_t kMultiprocessors = 132;  ///< of an H100
  static constexpr int64_t kMostBytes = 6 << 20;

  Machine& machine;
  const ConvShape& s;
  const void* x;
  const int8_t* w;
  const CodeOutput& out;

  bool run() const {
    if (s.R != 1 || s.S != 1 || s.stride != 1 || s.pad != Padding{} || s.C % 8) return false;
    return s.C % 16 ? with_unit<8>() : with_unit<16>();
  }

 private:
  template <int kUnit>
  bool with_unit() const {
    return with<4, kUnit>(kMultiprocessors) || with<2, kUnit>(kMultiprocessors) || with<1, kUnit>(1);
  }
  template <int kRowWarps, int kUnit>
  bool with(int64_t least_blocks) const {
    using Kernel = QuantizedPointwise<Math, kRowWarps, kUnit>;
    const int64_t rows = int64_t{s.N} * s.H * s.W, blocks = Kernel::blocks(rows, s.K);
    if (s.C > Kernel::kDepth || blocks < least_blocks || Kernel::bytes(rows, s.K, s.C) > kMostBytes)
      return false;
    machine.launch(Kernel{static_cast<int>(rows), s.K, s.C, Divisor((s.K + Kernel::kN - 1) / Kernel::kN),
                          static_cast<const char*>(x), reinterpret_cast<const char*>(w), out},
                   blocks, 1);
    return true;
  }
};

}  // namespace espalier::kernels::tiles
