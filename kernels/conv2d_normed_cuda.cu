#include <utility>

#include "kernels/batch_norm.h"
#include "kernels/batch_norm_cuda.h"
#include "kernels/conv2d_cuda.h"
#include "kernels/conv2d_tiles.h"
#include "kernels/cuda_launch.h"
#include "kernels/tuning_cuda.h"

namespace espalier::kernels::cuda {

namespace {

/// In one pass, or in steps that each may be the libraries'. Without timing the one pass is taken where its
/// tiles keep the GPU busy.
bool run_either(int operation, const ConvShape& s, int64_t rows, int columns, float* output,
                const std::function<bool()>& in_one, const std::function<bool()>& in_steps) {
  Candidate all[] = {{"one-pass", in_one}, {"steps", in_steps}};
  using tiles::Medium;
  if (tiles::tiles_of(rows, columns, Medium::kM, Medium::kN) < tiles::kBlocksWanted)
    std::swap(all[0], all[1]);
  return run_fastest(problem_of(operation, s, 0), all, output, 0, false);
}

}  // namespace

bool conv2d_forward_with_moments(const ConvShape& s, const float* x, const float* w, float* y,
                                 float* moments) {
  const Gather gather = tiles::forward_gather(s);
  if (!tiles::fits(s) || !tiles::takes_reducing(gather, s.K) || !aligned(x) || !aligned(w) || !aligned(y))
    return false;
  const int64_t rows = int64_t{s.N} * s.P() * s.Q();
  Machine machine;
  const auto in_one = [&] {
    tiles::ReducingConv2d<Machine>{machine, precision()}.forward_with_moments(gather, s.K, x, w, y, moments);
    return true;
  };
  const auto in_steps = [&] {
    return conv2d_forward(s, x, w, {}, y) && batch_norm_statistics(rows, s.K, y, moments, moments + s.K);
  };
  return run_either(3, s, rows, s.K, y, in_one, in_steps);
}

bool conv2d_backward_x_through_norm(const ConvShape& s, const float* x, const InputNorm& norm,
                                    const float* dy, const float* w, float* dx, float* sums) {
  const Gather gather = tiles::backward_gather(s);
  if (!tiles::fits(s) || !tiles::takes_reducing(gather, s.C) || !aligned(x) || !aligned(dy) || !aligned(w) ||
      !aligned(dx) || !aligned(norm.factor) || !aligned(norm.offset) || !aligned(norm.mean))
    return false;
  const int64_t rows = int64_t{s.N} * s.H * s.W;
  Machine machine;
  const auto in_one = [&] {
    const float* turned = turned_filters(s, w);
    tiles::ReducingConv2d<Machine>{machine, precision()}.gradient_through_norm(gather, s.C, dy, turned, x,
                                                                               norm, dx, sums);
    return true;
  };
  const auto in_steps = [&] {
    return conv2d_backward_x(s, dy, w, dx) &&
           normalize_backward(rows, s.C, x, norm, nullptr, dx, dx, sums, nullptr);
  };
  return run_either(4, s, rows, s.C, dx, in_one, in_steps);
}

}  // namespace espalier::kernels::cuda
