#pragma once
// Dense convolutions on Hopper's tensor cores (warpgroup_gemm.h). Each returns false, having done nothing,
// where the program or the card has no such code, or the problem does not fit.

#include "kernels/warpgroup_tiles.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_HOPPER
/// y[row, k] = act(sum over taps and channels of image * filters[k, r, s, c] + bias + residual).
bool group_gemm(tiles::GroupWidth width, const Gather& g, int columns, const Bf16* image, const Bf16* filters,
                const EpilogueOf<Bf16>& e, Bf16* y);
/// dw[k, r, s, c] = sum over output pixels of dy * x.
bool group_filter_gradient(tiles::GroupGradientTile tile, const Gather& g, int filters, const Bf16* x,
                           const Bf16* dy, float* dw);
/// The same of 3x3 convolutions without steps.
bool tap_filter_gradient(const Gather& g, int filters, const Bf16* x, const Bf16* dy, float* dw);
#else
inline bool group_gemm(tiles::GroupWidth, const Gather&, int, const Bf16*, const Bf16*,
                       const EpilogueOf<Bf16>&, Bf16*) {
  return false;
}
inline bool group_filter_gradient(tiles::GroupGradientTile, const Gather&, int, const Bf16*, const Bf16*,
                                  float*) {
  return false;
}
inline bool tap_filter_gradient(const Gather&, int, const Bf16*, const Bf16*, float*) { return false; }
#endif

}  // namespace espalier::kernels::cuda
