#include "kernels/conv2d_cuda.h"
#include "kernels/conv2d_library.h"
#include "kernels/conv2d_tiles.h"
#include "kernels/cuda_launch.h"
#include "kernels/tuning_cuda.h"

namespace espalier::kernels::cuda {

bool conv2d_backward_w(const ConvShape& s, const float* x, const float* dy, float* dw) {
  if (!tiles::fits(s) || !aligned(x) || !aligned(dy) || !aligned(dw)) return false;
  Machine machine;
  const tiles::Conv2d<Machine> own{machine, precision()};
  const Gather gather = tiles::forward_gather(s);
  const auto with = [&](tiles::TileName tile) {
    return [&, tile] {
      own.filter_gradient(tile, gather, s.K, x, dy, dw);
      return true;
    };
  };
  const Candidate large{"large", with(tiles::TileName::kLarge)},
      small{"small", with(tiles::TileName::kSmall)};
  const bool small_first =
      tiles::usual_gradient_tile(s.K, int64_t{s.R} * s.S * s.C) == tiles::TileName::kSmall;
  const Candidate all[] = {
      small_first ? small : large,
      small_first ? large : small,
      {"cudnn", [&] { return library::cudnn_backward_w(s, own.precision, x, dy, dw); }},
      {"cublaslt", [&] { return library::cublaslt_backward_w(s, own.precision, x, dy, dw); }}};
  return run_fastest(problem_of(2, s, 0), all, dw, 0, false);
}

}  // namespace espalier::kernels::cuda
