#pragma once
// Convolutions on Hopper's tensor cores: in what grid and in how many parts, as conv2d_tiles.h does for the
// others.

#include "kernels/conv2d_tiles.h"
#include "kernels/warpgroup_filter_gradient.h"
#include "kernels/warpgroup_gemm.h"
#include "kernels/warpgroup_tap_gradient.h"

namespace espalier::kernels::tiles {

/// Filters of a block. Wide tiles read less, narrow ones give more blocks and waste fewer columns.
enum class GroupWidth { k64 = 64, k128 = 128, k256 = 256 };

/// Whole units of 16 bytes, and no zeros between the pixels.
template <class T>
bool takes_groups(const Gather& g) {
  return g.C * sizeof(T) % 16 == 0 && g.upsample == 1;
}

/// The width that keeps a large GPU busy; for those that are not timed.
inline GroupWidth usual_width(int64_t rows, int64_t columns) {
  constexpr int kRows = 128;
  if (columns <= 64 || tiles_of(rows, columns, kRows, 128) < kBlocksWanted / 2) return GroupWidth::k64;
  if (columns <= 128 || tiles_of(rows, columns, kRows, 256) < kBlocksWanted / 2) return GroupWidth::k128;
  return GroupWidth::k256;
}

/// run(width as a constant)
template <class Run>
void with_width(GroupWidth width, const Run& run) {
  if (width == GroupWidth::k64)
    run(std::integral_constant<int, 64>());
  else if (width == GroupWidth::k128)
    run(std::integral_constant<int, 128>());
  else
    run(std::integral_constant<int, 256>());
}

/// Parts of the sum, so that the blocks that fit a large GPU at once are there.
template <class Kernel>
Parts group_parts(const Gather& g, int columns) {
  const int64_t blocks = tiles_of(int64_t{g.N} * g.P * g.Q, columns, Kernel::kM, Kernel::kN);
  return parts_of(blocks * 2 / Kernel::kBlocks, Kernel::steps_of(g), kLeastSteps);
}

template <class Kernel, class Machine, class Output>
void launch_groups(Machine& machine, const Gather& g, int columns, const void* image, const void* filters,
                   const Output& out, const Parts& parts) {
  machine.launch(
      Kernel{g, columns, (columns + Kernel::kN - 1) / Kernel::kN, parts.steps, image, filters, out},
      tiles_of(int64_t{g.N} * g.P * g.Q, columns, Kernel::kM, Kernel::kN), parts.count);
}

/// y[row, k] = act(sum over taps and channels of image * filters[k, r, s, c] ...), as Conv2d::gather_gemm.
template <class Machine>
void group_gemm(Machine& machine, GroupWidth width, const Gather& g, int columns, const Bf16* image,
                const Bf16* filters, const EpilogueOf<Bf16>& e, Bf16* y) {
  const int64_t rows = int64_t{g.N} * g.P * g.Q, elements = rows * columns;
  const bool vectors = columns % 4 == 0;
  with_width(width, [&](auto n) {
    using Whole = WarpgroupGemm<GroupBf16, n(), ElementOutput<Bf16>>;
    const Parts parts = group_parts<Whole>(g, columns);
    if (parts.count == 1)
      return launch_groups<Whole>(machine, g, columns, image, filters,
                                  ElementOutput<Bf16>{e, columns, elements, vectors, y}, parts);
    float* sums = machine.scratch(parts.count * elements);
    launch_groups<WarpgroupGemm<GroupBf16, n(), ElementOutput<float>>>(
        machine, g, columns, image, filters, ElementOutput<float>{{}, columns, elements, vectors, sums},
        parts);
    machine.for_each_row(rows, columns, FinishParts<Bf16>{parts.count, elements, columns, sums, e, y});
  });
}

/// Filters x columns of a block's share of a filter gradient.
enum class GroupGradientTile { k64x256, k128x128 };

inline bool takes_group_gradient(const Gather& g, int filters) {
  constexpr int kUnit = kPerUnit<Bf16>;
  return g.C % kUnit == 0 && filters % kUnit == 0 && g.upsample == 1;
}

/// sums over output pixels of dy[m, k] * x[pixel of m and tap, c], as Conv2d::filter_gradient.
template <class Machine>
void group_filter_gradient(Machine& machine, GroupGradientTile tile, const Gather& g, int filters,
                           const Bf16* x, const Bf16* dy, float* dw) {
  const auto run = [&](auto row_groups) {
    using Kernel = WarpgroupFilterGradient<row_groups()>;
    const int columns = g.R * g.S * g.C;
    const int64_t blocks = tiles_of(filters, columns, Kernel::kM, Kernel::kN),
                  elements = int64_t{filters} * columns;
    const Parts parts = parts_of(blocks, Kernel::steps_of(g), kLeastSteps);
    float* sums = parts.count > 1 ? machine.scratch(parts.count * elements) : dw;
    machine.launch(Kernel{g, Divisor(g.P), Divisor(g.Q), filters, (columns + Kernel::kN - 1) / Kernel::kN,
                          parts.steps, x, dy, sums},
                   blocks, parts.count);
    add_gradient_parts(machine, parts.count, filters, columns, sums, dw);
  };
  if (tile == GroupGradientTile::k64x256)
    run(std::integral_constant<int, 1>());
  else
    run(std::integral_constant<int, 2>());
}

/// Filters of 3x3 taps without steps, and images whose strips and rows 32-bit counters hold.
inline bool takes_tap_gradient(const Gather& g, int filters) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return takes_group_gradient(g, filters) && g.R == 3 && g.S == 3 && g.step == 1 &&
         int64_t{g.N} * (g.P + 8) < kMost && int64_t{g.W} * g.C < kMost && int64_t{g.Q} * filters < kMost;
}

/// Parts of each strip, so that the last round of blocks, of which a multiprocessor holds one, is a full one.
inline Parts tap_gradient_parts(int64_t blocks, int steps) {
  constexpr int64_t kAtOnce = kBlocksWanted / 2;
  constexpr int kLeast = 16;  ///< steps of a part
  constexpr int kStart = 8;   ///< what a part costs beyond its steps, its sums above all, in steps
  Parts best{1, steps};
  const auto cost = [&](const Parts& p) {
    return (blocks * p.count + kAtOnce - 1) / kAtOnce * (p.steps + kStart);
  };
  for (int count = 2; count <= kAtOnce && count * kLeast <= steps; ++count) {
    const int length = (steps + count - 1) / count;
    const Parts parts{(steps + length - 1) / length, length};
    if (cost(parts) < cost(best)) best = parts;
  }
  return best;
}

/// run(width as a constant) with the width of strips that leaves the least over.
template <class Run>
void with_strip(int columns, const Run& run) {
  const auto over = [&](int width) { return (columns + width - 1) / width * width - columns; };
  if (over(64) <= over(32) && over(64) <= over(16))
    run(std::integral_constant<int, 64>());
  else if (over(32) <= over(16))
    run(std::integral_constant<int, 32>());
  else
    run(std::integral_constant<int, 16>());
}

/// As group_filter_gradient(), of what takes_tap_gradient().
template <class Machine>
void tap_filter_gradient(Machine& machine, const Gather& g, int filters, const Bf16* x, const Bf16* dy,
                         float* dw) {
  with_strip(g.Q, [&](auto strip) {
    WarpgroupTapGradient<strip()> kernel(g, filters, x, dy);
    const Parts of_strip = tap_gradient_parts(kernel.tiles() * kernel.strips, kernel.steps_of_strip());
    const int parts = of_strip.count * kernel.strips, columns = g.R * g.S * g.C;
    kernel.part_steps = of_strip.steps;
    kernel.sums = parts > 1 ? machine.scratch(int64_t{parts} * filters * columns) : dw;
    machine.launch(kernel, kernel.tiles(), parts);
    add_gradient_parts(machine, parts, filters, columns, kernel.sums, dw);
  });
}

}  // namespace espalier::kernels::tiles
