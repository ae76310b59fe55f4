#include "kernels/conv2d_cuda.h"
#include "kernels/conv2d_tiles.h"
#include "kernels/cuda_launch.h"

namespace espalier::kernels::cuda {

bool conv2d_backward_w(const ConvShape& s, const float* x, const float* dy, float* dw) {
  if (!tiles::fits(s) || !aligned(x) || !aligned(dy) || !aligned(dw)) return false;
  Machine machine;
  tiles::Conv2d<Machine>{machine, precision()}.filter_gradient(tiles::forward_gather(s), s.K, x, dy, dw);
  return true;
}

}  // namespace espalier::kernels::cuda
