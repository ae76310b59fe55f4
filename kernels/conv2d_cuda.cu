#include "kernels/conv2d_cuda.h"

#include <vector>

#include "kernels/conv2d_library.h"
#include "kernels/conv2d_tiles.h"
#include "kernels/cuda_launch.h"
#include "kernels/tuning_cuda.h"

namespace espalier::kernels::cuda {

namespace {

using tiles::TileName;

constexpr std::pair<const char*, TileName> kTiles[] = {{"large", TileName::kLarge},
                                                       {"medium", TileName::kMedium},
                                                       {"narrow", TileName::kNarrow},
                                                       {"small", TileName::kSmall}};

/// The hand-written loops, the usual tile first. Channels that fill no 16-byte unit have one tile only.
template <class Run>
std::vector<Candidate> own_candidates(TileName usual, bool one_only, const Run& run) {
  std::vector<Candidate> all;
  const auto add = [&](const char* name, TileName tile) {
    all.push_back({name, [run, tile] {
                     run(tile);
                     return true;
                   }});
  };
  for (const auto& [name, tile] : kTiles)
    if (tile == usual) add(name, tile);
  for (const auto& [name, tile] : kTiles)
    if (tile != usual && !one_only) add(name, tile);
  return all;
}

bool empty(const Epilogue& e) { return !e.bias && !e.residual && e.act.is_none(); }

/// Numbers the epilogues that differ in what they read.
int variant_of(const Epilogue& e) { return (e.bias ? 1 : 0) + (e.residual ? 2 : 0); }

}  // namespace

const float* turned_filters(const ConvShape& s, const float* w) {
  const int64_t elements = int64_t{s.K} * s.R * s.S * s.C;
  float* turned = scratch(ScratchUse::kTurnedFilters, elements);
  for_each(Device::kCuda, elements, tiles::TurnFilters{s.K, s.R, s.S, s.C, w, turned});
  return turned;
}

bool conv2d_forward(const ConvShape& s, const float* x, const float* w, const Epilogue& e, float* y) {
  if (!tiles::fits(s) || !aligned(x) || !aligned(w) || !aligned(y) || !aligned(e.bias) ||
      !aligned(e.residual))
    return false;
  Machine machine;
  const tiles::Conv2d<Machine> own{machine, precision()};
  const Gather gather = tiles::forward_gather(s);
  const int64_t rows = int64_t{s.N} * s.P() * s.Q();
  std::vector<Candidate> all = own_candidates(tiles::usual_tile(rows, s.K), s.C % 4 != 0, [&](TileName tile) {
    own.gather_gemm(tile, gather, s.K, x, w, e, y);
  });
  const auto add = [&](const char* name, auto library) {
    all.push_back({name, [&, library] {
                     // The library's sums come first: they would overwrite a residual in y.
                     if (e.residual == y || !library(s, own.precision, x, w, y)) return false;
                     if (!empty(e)) machine.for_each_row(rows, s.K, tiles::FinishParts{1, 0, s.K, y, e, y});
                     return true;
                   }});
  };
  add("cudnn", library::cudnn_forward);
  add("cublaslt", library::cublaslt_forward);
  return run_fastest(problem_of(0, s, variant_of(e)), all, y, static_cast<size_t>(rows * s.K) * sizeof(float),
                     e.residual == y);
}

bool conv2d_backward_x(const ConvShape& s, const float* dy, const float* w, float* dx) {
  if (!tiles::fits(s) || !aligned(dy) || !aligned(w) || !aligned(dx)) return false;
  Machine machine;
  const tiles::Conv2d<Machine> own{machine, precision()};
  const Gather gather = tiles::backward_gather(s);
  const int64_t rows = int64_t{s.N} * s.H * s.W;
  std::vector<Candidate> all = own_candidates(tiles::usual_tile(rows, s.C), s.K % 4 != 0, [&](TileName tile) {
    own.gather_gemm(tile, gather, s.C, dy, turned_filters(s, w), {}, dx);
  });
  all.push_back({"cudnn", [&] { return library::cudnn_backward_x(s, own.precision, dy, w, dx); }});
  all.push_back({"cublaslt", [&] { return library::cublaslt_backward_x(s, own.precision, dy, w, dx); }});
  return run_fastest(problem_of(1, s, 0), all, dx, 0, false);
}

}  // namespace espalier::kernels::cuda
