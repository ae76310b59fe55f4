#include "kernels/conv2d_cuda.h"

#include <type_traits>
#include <vector>

#include "kernels/conv2d_hopper.h"
#include "kernels/conv2d_library.h"
#include "kernels/conv2d_tiles.h"
#include "kernels/cuda_launch.h"
#include "kernels/elementwise.h"
#include "kernels/few_channels_forward.h"
#include "kernels/tuning_cuda.h"

namespace espalier::kernels::cuda {

namespace {

using tiles::TileName;

constexpr std::pair<const char*, TileName> kTiles[] = {{"large", TileName::kLarge},
                                                       {"medium", TileName::kMedium},
                                                       {"narrow", TileName::kNarrow},
                                                       {"small", TileName::kSmall}};

/// The hand-written loops, the usual tile first, which is the general one. Channels that fill no 16-byte unit
/// have one tile only.
template <class Run>
std::vector<Candidate> own_candidates(TileName usual, bool one_only, const Run& run) {
  std::vector<Candidate> all;
  const auto add = [&](const char* name, TileName tile) {
    all.push_back({name,
                   [run, tile] {
                     run(tile);
                     return true;
                   },
                   tile == usual});
  };
  for (const auto& [name, tile] : kTiles)
    if (tile == usual) add(name, tile);
  for (const auto& [name, tile] : kTiles)
    if (tile != usual && !one_only) add(name, tile);
  return all;
}

constexpr std::pair<const char*, tiles::GroupWidth> kWidths[] = {{"group-64", tiles::GroupWidth::k64},
                                                                 {"group-128", tiles::GroupWidth::k128},
                                                                 {"group-256", tiles::GroupWidth::k256}};

/// Puts Hopper's loops first, the usual width before the others, without those of which half a tile would lie
/// idle; run(width) starts one.
template <class T, class Run>
void add_groups(std::vector<Candidate>& all, const Gather& g, int columns, const Run& run) {
  if constexpr (std::is_same_v<T, Bf16>) {
    if (!tiles::takes_groups<T>(g)) return;
    const tiles::GroupWidth usual = tiles::usual_width(int64_t{g.N} * g.P * g.Q, columns);
    std::vector<Candidate> groups;
    for (const auto& [name, width] : kWidths)
      if (width == usual || 2 * columns > static_cast<int>(width))
        groups.insert(width == usual ? groups.begin() : groups.end(),
                      {name, [run, width] { return run(width); }});
    all.insert(all.begin(), groups.begin(), groups.end());
  }
}

template <class T>
bool empty(const EpilogueOf<T>& e) {
  return !e.bias && !e.residual && e.act.is_none();
}

/// Numbers the epilogues that differ in what they read.
template <class T>
int variant_of(const EpilogueOf<T>& e) {
  return (e.bias ? 1 : 0) + (e.residual ? 2 : 0);
}

}  // namespace

template <class T>
const T* stored_filters(const ConvShape& s, const float* w) {
  if constexpr (std::is_same_v<T, float>) {
    return w;
  } else {
    const int64_t elements = int64_t{s.K} * s.R * s.S * s.C;
    void* stored = scratch(ScratchUse::kFilters, (elements + 1) / 2);
    cast(Device::kCuda, elements, w, static_cast<T*>(stored));
    return static_cast<T*>(stored);
  }
}

template <class T>
const T* turned_filters(const ConvShape& s, const float* w) {
  const int64_t elements = int64_t{s.K} * s.R * s.S * s.C;
  void* turned = scratch(ScratchUse::kFilters, elements);
  for_each(Device::kCuda, elements, tiles::TurnFilters<T>{s.K, s.R, s.S, s.C, w, static_cast<T*>(turned)});
  return static_cast<T*>(turned);
}

template <class T>
bool conv2d_forward(const ConvShape& s, const T* x, const float* w, const EpilogueOf<T>& e, T* y) {
  return aligned(w) && conv2d_forward_of_stored(s, x, stored_filters<T>(s, w), e, y);
}

template <class T>
bool conv2d_forward_of_stored(const ConvShape& s, const T* x, const T* filters, const EpilogueOf<T>& e,
                              T* y) {
  if (!tiles::fits(s) || !aligned(x) || !aligned(filters) || !aligned(y) || !aligned(e.bias) ||
      !aligned(e.residual))
    return false;
  Machine machine;
  const tiles::Conv2d<Machine> own{machine, precision()};
  const Gather gather = tiles::forward_gather(s);
  const int64_t rows = int64_t{s.N} * s.P() * s.Q();
  std::vector<Candidate> all =
      own_candidates(tiles::usual_tile(rows, s.K), s.C % tiles::kPerUnit<T> != 0,
                     [&](TileName tile) { own.gather_gemm(tile, gather, s.K, x, filters, e, y); });
  add_groups<T>(all, gather, s.K, [&](tiles::GroupWidth width) {
    if constexpr (std::is_same_v<T, Bf16>) return group_gemm(width, gather, s.K, x, filters, e, y);
    return false;
  });
  if (few_channels::takes(s))
    all.insert(all.begin(), {"few-channels", [&] {
                               few_channels::forward(machine, own.precision, s, x, filters, e, y);
                               return true;
                             }});
  const bool over_residual = e.residual && static_cast<const void*>(e.residual) == y;
  const auto add = [&](const char* name, auto library) {
    all.push_back({name, [&, library] {
                     // The library's sums come first: they would overwrite a residual in y.
                     if (over_residual || !library(s, own.precision, x, filters, y)) return false;
                     if (!empty(e))
                       machine.for_each_row(rows, s.K, tiles::FinishParts<T, T>{1, 0, s.K, y, e, y});
                     return true;
                   }});
  };
  add("cudnn", library::cudnn_forward<T>);
  add("cublaslt", library::cublaslt_forward<T>);
  return run_fastest(problem_of<T>(0, s, variant_of(e) + (over_residual ? 4 : 0)), all,
                     {output(y, rows * s.K, over_residual)});
}

template <class T>
bool conv2d_backward_x(const ConvShape& s, const T* dy, const float* w, T* dx) {
  if (!tiles::fits(s) || !aligned(w) || !aligned(dy) || !aligned(dx)) return false;
  Machine machine;
  const tiles::Conv2d<Machine> own{machine, precision()};
  const Gather gather = tiles::backward_gather(s);
  std::vector<Candidate> all = own_candidates(
      tiles::usual_tile(int64_t{s.N} * s.H * s.W, s.C), s.K % tiles::kPerUnit<T> != 0,
      [&](TileName tile) { own.gather_gemm(tile, gather, s.C, dy, turned_filters<T>(s, w), {}, dx); });
  add_groups<T>(all, gather, s.C, [&](tiles::GroupWidth width) {
    if constexpr (std::is_same_v<T, Bf16>)
      return group_gemm(width, gather, s.C, dy, turned_filters<T>(s, w), {}, dx);
    return false;
  });
  const auto add = [&](const char* name, auto library) {
    all.push_back(
        {name, [&, library] { return library(s, own.precision, dy, stored_filters<T>(s, w), dx); }});
  };
  add("cudnn", library::cudnn_backward_x<T>);
  add("cublaslt", library::cublaslt_backward_x<T>);
  return run_fastest(problem_of<T>(1, s, 0), all, {output(dx, int64_t{s.N} * s.H * s.W * s.C)});
}

#define ESPALIER_FOR(T)                                                                                   \
  template const T* stored_filters(const ConvShape&, const float*);                                       \
  template const T* turned_filters(const ConvShape&, const float*);                                       \
  template bool conv2d_forward_of_stored(const ConvShape&, const T*, const T*, const EpilogueOf<T>&, T*); \
  template bool conv2d_forward(const ConvShape&, const T*, const float*, const EpilogueOf<T>&, T*);       \
  template bool conv2d_backward_x(const ConvShape&, const T*, const float*, T*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

}  // namespace espalier::kernels::cuda
