#include <utility>

#include "kernels/batch_norm.h"
#include "kernels/batch_norm_cuda.h"
#include "kernels/conv2d_cuda.h"
#include "kernels/conv2d_tiles.h"
#include "kernels/cuda_launch.h"
#include "kernels/few_channels_forward.h"
#include "kernels/tuning_cuda.h"

namespace espalier::kernels::cuda {

namespace {

/// In one pass, or in steps that each may be the libraries'. Without timing the one pass is taken where its
/// tiles keep the GPU busy.
template <class T>
bool run_either(int operation, const ConvShape& s, int64_t tiles, std::initializer_list<Output> outputs,
                const std::function<bool()>& in_one, const std::function<bool()>& in_steps) {
  Candidate all[] = {{"one-pass", in_one}, {"steps", in_steps, true}};
  if (tiles < tiles::kBlocksWanted) std::swap(all[0], all[1]);
  return run_fastest(problem_of<T>(operation, s, 0), all, outputs);
}

int64_t tiles_of(int64_t rows, int columns) {
  return tiles::tiles_of(rows, columns, tiles::Medium::kM, tiles::Medium::kN);
}

bool aligned_norm(const InputNorm& norm) {
  return aligned(norm.factor) && aligned(norm.offset) && aligned(norm.mean);
}

/// x through its norm, in memory of its own; null where that cannot be made.
template <class T>
const T* normalised(const ConvShape& s, const T* x, const InputNorm& norm) {
  if (!norm.factor) return x;
  const int64_t rows = int64_t{s.N} * s.H * s.W;
  void* z = scratch(ScratchUse::kNormalised, (rows * s.C * static_cast<int64_t>(sizeof(T)) + 3) / 4);
  return normalize_forward<T>(rows, s.C, x, norm, nullptr, static_cast<T*>(z)) ? static_cast<T*>(z) : nullptr;
}

/// The same for an x that has been read through its norm.
template <class T>
bool plain_with_moments(const ConvShape& s, const T* x, const float* w, T* y, float* moments) {
  const Gather gather = tiles::forward_gather(s);
  const int64_t rows = int64_t{s.N} * s.P() * s.Q();
  Machine machine;
  const auto in_one = [&] {
    if (!tiles::takes_reducing<T>(gather, s.K)) return false;
    tiles::ReducingConv2d<Machine>{machine, precision()}.forward_with_moments(
        gather, s.K, x, {}, stored_filters<T>(s, w), y, moments);
    return true;
  };
  const auto in_steps = [&] {
    return conv2d_forward(s, x, w, {}, y) && batch_norm_statistics(rows, s.K, y, moments, moments + s.K);
  };
  const std::initializer_list<Output> outputs = {output(y, rows * s.K), output(moments, 2 * s.K)};
  if (!few_channels::takes_moments(s))
    return run_either<T>(3, s, tiles_of(rows, s.K), outputs, in_one, in_steps);
  const Candidate all[] = {{"few-channels",
                            [&] {
                              few_channels::forward_with_moments(machine, precision(), s, x,
                                                                 stored_filters<T>(s, w), y, moments);
                              return true;
                            }},
                           {"one-pass", in_one},
                           {"steps", in_steps, true}};
  return run_fastest(problem_of<T>(3, s, 0), all, outputs);
}

}  // namespace

template <class T>
bool conv2d_forward_with_moments(const ConvShape& s, const T* x, const InputNorm& norm, const float* w, T* y,
                                 float* moments) {
  if (!tiles::fits(s) || !aligned(x) || !aligned(w) || !aligned(y) || !aligned_norm(norm)) return false;
  const auto in_steps = [&] {
    const T* z = normalised(s, x, norm);
    return z && plain_with_moments(s, z, w, y, moments);
  };
  if (!norm.factor || !tiles::takes_normed<T>(s)) return in_steps();
  Machine machine;
  const auto in_one = [&] {
    tiles::ReducingConv2d<Machine>{machine, precision()}.forward_with_moments(
        tiles::forward_gather(s), s.K, x, norm, stored_filters<T>(s, w), y, moments);
    return true;
  };
  const int64_t rows = int64_t{s.N} * s.P() * s.Q();
  return run_either<T>(5, s, tiles_of(rows, s.K), {output(y, rows * s.K), output(moments, 2 * s.K)}, in_one,
                       in_steps);
}

template <class T>
bool conv2d_backward_w_of_norm(const ConvShape& s, const T* x, const InputNorm& norm, const T* dy,
                               float* dw) {
  if (!tiles::fits(s) || !aligned(x) || !aligned(dy) || !aligned(dw) || !aligned_norm(norm)) return false;
  const auto in_steps = [&] {
    const T* z = normalised(s, x, norm);
    return z && conv2d_backward_w(s, z, dy, dw);
  };
  if (!norm.factor || !tiles::takes_normed<T>(s)) return in_steps();
  Machine machine;
  const auto in_one = [&] {
    tiles::normed_filter_gradient(machine, precision(), tiles::forward_gather(s), s.K, x, norm, dy, dw);
    return true;
  };
  return run_either<T>(6, s, tiles::kBlocksWanted, {output(dw, int64_t{s.K} * s.R * s.S * s.C)}, in_one,
                       in_steps);
}

template <class T>
bool conv2d_backward_x_through_norm(const ConvShape& s, const T* x, const InputNorm& norm, const T* dy,
                                    const float* w, T* dx, float* sums) {
  const Gather gather = tiles::backward_gather(s);
  if (!tiles::fits(s) || !tiles::takes_reducing<T>(gather, s.C) || !aligned(x) || !aligned(dy) ||
      !aligned(w) || !aligned(dx) || !aligned_norm(norm))
    return false;
  const int64_t rows = int64_t{s.N} * s.H * s.W;
  Machine machine;
  const auto in_one = [&] {
    tiles::ReducingConv2d<Machine>{machine, precision()}.gradient_through_norm(
        gather, s.C, dy, turned_filters<T>(s, w), x, norm, dx, sums);
    return true;
  };
  const auto in_steps = [&] {
    return conv2d_backward_x(s, dy, w, dx) && normalize_sums<T>(rows, s.C, x, norm, nullptr, dx, sums) &&
           normalize_backward_x<T>(rows, s.C, x, norm, nullptr, dx, {}, dx, nullptr);
  };
  return run_either<T>(4, s, tiles_of(rows, s.C), {output(dx, rows * s.C), output(sums, 2 * s.C)}, in_one,
                       in_steps);
}

#define ESPALIER_FOR(T)                                                                                     \
  template bool conv2d_forward_with_moments(const ConvShape&, const T*, const InputNorm&, const float*, T*, \
                                            float*);                                                        \
  template bool conv2d_backward_w_of_norm(const ConvShape&, const T*, const InputNorm&, const T*, float*);  \
  template bool conv2d_backward_x_through_norm(const ConvShape&, const T*, const InputNorm&, const T*,      \
                                               const float*, T*, float*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

}  // namespace espalier::kernels::cuda
