#include "kernels/conv2d_hopper.h"

#include "kernels/cuda_launch.h"
#include "kernels/card.h"

namespace espalier::kernels::cuda {

bool group_gemm(tiles::GroupWidth width, const Gather& g, int columns, const Bf16* image, const Bf16* filters,
                const EpilogueOf<Bf16>& e, Bf16* y) {
  if (!tiles::takes_groups<Bf16>(g) || !is_hopper()) return false;
  Machine machine;
  tiles::group_gemm(machine, width, g, columns, image, filters, e, y);
  return true;
}

bool group_filter_gradient(tiles::GroupGradientTile tile, const Gather& g, int filters, const Bf16* x,
                           const Bf16* dy, float* dw) {
  if (!tiles::takes_group_gradient(g, filters) || !is_hopper()) return false;
  Machine machine;
  tiles::group_filter_gradient(machine, tile, g, filters, x, dy, dw);
  return true;
}

bool tap_filter_gradient(const Gather& g, int filters, const Bf16* x, const Bf16* dy, float* dw) {
  if (!tiles::takes_tap_gradient(g, filters) || !is_hopper()) return false;
  Machine machine;
  tiles::tap_filter_gradient(machine, g, filters, x, dy, dw);
  return true;
}

}  // namespace espalier::kernels::cuda
