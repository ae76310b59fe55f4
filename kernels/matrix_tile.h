#pragma once
// Register tiles of matrix products on the CPU: MR rows x NR vectors of sums that stay in registers while the
// inner dimension runs. What happens to the sums is the caller's.

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "kernels/simd.h"

namespace espalier::kernels {

/// Sums, one vector of b per block and one element of a have to fit the registers.
constexpr int kTileBlocks = 3;
constexpr int tile_rows(int blocks) { return std::min(14, (simd::kRegisters - 1 - blocks) / blocks); }

template <int MR, int NR>
using TileSums = simd::Vector[MR][NR];

/// sum[m][j] = sum over i < depth of a[m*row + i] * b[j*block + i*kLanes ...]: rows of a against packed b.
/// The terms are added in runs of kRun and the runs added up: one chain of additions would lose more digits.
template <int MR, int NR>
inline void multiply_rows(const float* a, int64_t row, const float* b, int64_t block, int depth,
                          TileSums<MR, NR>& sum) {
  using namespace simd;
  constexpr int kRun = 64;
  // Rows are reached from every third one: fourteen pointers would not fit the registers.
  constexpr int kBases = (MR + 2) / 3;
  const float* base[kBases];
#pragma GCC unroll 16
  for (int k = 0; k < kBases; ++k) base[k] = a + 3 * k * row;
  alignas(64) float runs[MR][NR][kLanes];
  for (int first = 0; first < depth; first += kRun) {
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
      for (int j = 0; j < NR; ++j) sum[m][j] = zero();
    const int last = std::min(depth, first + kRun);
    for (int i = first; i < last; ++i) {
      Vector right[NR];
#pragma GCC unroll 16
      for (int j = 0; j < NR; ++j) {
        right[j] = load(b + j * block);
        hold(right[j]);
      }
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
        const Vector left = broadcast(base[m / 3][(m % 3) * row]);
#pragma GCC unroll 16
        for (int j = 0; j < NR; ++j) sum[m][j] = simd::fma(left, right[j], sum[m][j]);
      }
      b += kLanes;
#pragma GCC unroll 16
      for (int k = 0; k < kBases; ++k) ++base[k];
    }
    if (first > 0)
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
        for (int j = 0; j < NR; ++j) sum[m][j] = add(load(runs[m][j]), sum[m][j]);
    if (last < depth)
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
        for (int j = 0; j < NR; ++j) store(runs[m][j], sum[m][j]);
  }
}

/// sum[m][j] += sum over i < depth of a[i*a_step + m] * b[i*b_step + j*kLanes ...]: columns of a against rows
/// of b.
template <int MR, int NR>
inline void multiply_columns(const float* a, int64_t a_step, const float* b, int64_t b_step, int depth,
                             TileSums<MR, NR>& sum) {
  using namespace simd;
  for (int i = 0; i < depth; ++i) {
    Vector right[NR];
#pragma GCC unroll 16
    for (int j = 0; j < NR; ++j) {
      right[j] = load(b + j * kLanes);
      hold(right[j]);
    }
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      const Vector left = broadcast(a[m]);
#pragma GCC unroll 16
      for (int j = 0; j < NR; ++j) sum[m][j] = simd::fma(left, right[j], sum[m][j]);
    }
    a += a_step;
    b += b_step;
  }
}

/// table[NR - 1][MR] of Tile::run<MR, NR>, for every size of tile there is.
template <class Tile>
class TileTable {
 public:
  using Function = void (*)(const Tile&);
  static Function at(int rows, int blocks) { return kTable[blocks - 1][rows]; }

 private:
  template <int NR, int... M>
  static constexpr auto row(std::integer_sequence<int, M...>) {
    std::array<Function, 15> functions{};
    ((functions[M + 1] = Tile::template run<M + 1, NR>), ...);
    return functions;
  }
  template <int... N>
  static constexpr auto all(std::integer_sequence<int, N...>) {
    return std::array{row<N + 1>(std::make_integer_sequence<int, tile_rows(N + 1)>())...};
  }
  static constexpr auto kTable = all(std::make_integer_sequence<int, kTileBlocks>());
};

/// Blocks of the next panel of columns: pairs have the best ratio of sums to loads, three when three are
/// left.
inline int panel_blocks(int left) { return left == 3 ? 3 : std::min(left, 2); }

/// visit(first, count) for nearly equal tiles of `rows` rows.
template <class Visit>
void for_each_tile_of_rows(int rows, int blocks, Visit visit) {
  const int tiles = (rows + tile_rows(blocks) - 1) / tile_rows(blocks);
  for (int i = 0, done = 0; i < tiles; ++i) {
    const int count = (rows - done) / (tiles - i);
    visit(done, count);
    done += count;
  }
}

}  // namespace espalier::kernels
