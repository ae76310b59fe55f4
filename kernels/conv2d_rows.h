#pragma once
// Any number of rows by any number of filters, cut into the register tiles of conv2d_tile.h.

#include <algorithm>

#include "kernels/conv2d_tile.h"

namespace espalier::kernels {

constexpr int kMostFilterBlocks = 4;

/// Rows of the largest tile over `blocks` vectors of channels: registers hold the sums, one vector of filters
/// per block, and one pixel.
constexpr int conv_rows(int blocks) { return std::min(14, (simd::kRegisters - 1 - blocks) / blocks); }

/// Some neighbouring blocks of channels, as many as one tile takes.
struct FilterPanel {
  int first, blocks;
};

/// The next panel of [first, last): pairs have the best ratio of sums to loads, few rows want more sums at
/// once.
FilterPanel next_panel(int first, int last, int rows);

/// Runs `count` rows of a tile that describes the first one, in nearly equal tiles.
void run_conv_rows(ConvTile tile, int blocks, int count);

}  // namespace espalier::kernels
