#include "kernels/conv2d_rows.h"

#include <array>
#include <utility>

namespace espalier::kernels {

namespace {

using TileFunction = void (*)(const ConvTile&);

template <int NR, int... M>
constexpr auto tile_row(std::integer_sequence<int, M...>) {
  std::array<TileFunction, 15> row{};
  ((row[M + 1] = conv_tile<M + 1, NR>), ...);
  return row;
}
template <int... N>
constexpr auto tile_table(std::integer_sequence<int, N...>) {
  return std::array{tile_row<N + 1>(std::make_integer_sequence<int, conv_rows(N + 1)>())...};
}
/// kTiles[NR - 1][MR]
constexpr auto kTiles = tile_table(std::make_integer_sequence<int, kMostFilterBlocks>());

}  // namespace

FilterPanel next_panel(int first, int last, int rows) {
  const int left = last - first;
  const int wanted = rows <= conv_rows(4) / 2 ? 4 : left == 3 ? 3 : 2;
  return {first, std::min(left, wanted)};
}

void run_conv_rows(ConvTile tile, int blocks, int count) {
  const int tiles = (count + conv_rows(blocks) - 1) / conv_rows(blocks);
  int done = 0;
  for (int i = 0; i < tiles; ++i) {
    const int rows = (count - done) / (tiles - i);
    kTiles[blocks - 1][rows](tile);
    done += rows;
    tile.x += rows * tile.x_row;
    tile.y += rows * tile.y_row;
    if (tile.residual) tile.residual += rows * tile.y_row;
  }
}

}  // namespace espalier::kernels
