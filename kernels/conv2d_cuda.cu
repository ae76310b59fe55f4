#include "kernels/conv2d_cuda.h"

#include "kernels/conv2d_tiles.h"
#include "kernels/cuda_launch.h"

namespace espalier::kernels::cuda {

bool conv2d_forward(const ConvShape& s, const float* x, const float* w, const Epilogue& e, float* y) {
  if (!tiles::fits(s) || !aligned(x) || !aligned(w) || !aligned(y) || !aligned(e.bias) ||
      !aligned(e.residual))
    return false;
  Machine machine;
  tiles::Conv2d<Machine>{machine, precision()}.gather_gemm(tiles::forward_gather(s), s.K, x, w, e, y);
  return true;
}

bool conv2d_backward_x(const ConvShape& s, const float* dy, const float* w, float* dx) {
  if (!tiles::fits(s) || !aligned(dy) || !aligned(w) || !aligned(dx)) return false;
  const int64_t elements = int64_t{s.K} * s.R * s.S * s.C;
  float* turned = scratch(ScratchUse::kTurnedFilters, elements);
  for_each(Device::kCuda, elements, tiles::TurnFilters{s.K, s.R, s.S, s.C, w, turned});
  Machine machine;
  tiles::Conv2d<Machine>{machine, precision()}.gather_gemm(tiles::backward_gather(s), s.C, dy, turned, {},
                                                           dx);
  return true;
}

}  // namespace espalier::kernels::cuda
