#include <type_traits>
#include <vector>

#include "kernels/conv2d_cuda.h"
#include "kernels/conv2d_hopper.h"
#include "kernels/conv2d_library.h"
#include "kernels/conv2d_tiles.h"
#include "kernels/cuda_launch.h"
#include "kernels/elementwise.h"
#include "kernels/few_channels_gradient.h"
#include "kernels/few_filters_gradient.h"
#include "kernels/tuning_cuda.h"

namespace espalier::kernels::cuda {

namespace {

/// The library sums filters up in the type of the images.
template <class T>
bool cudnn_backward_w(const ConvShape& s, const T* x, const T* dy, float* dw) {
  if constexpr (std::is_same_v<T, float>) {
    return library::cudnn_backward_w(s, precision(), x, dy, dw);
  } else {
    const int64_t elements = int64_t{s.K} * s.R * s.S * s.C;
    void* rounded = scratch(ScratchUse::kRoundedGradient, (elements + 1) / 2);
    if (!library::cudnn_backward_w(s, precision(), x, dy, static_cast<T*>(rounded))) return false;
    cast(Device::kCuda, elements, static_cast<const T*>(rounded), dw);
    return true;
  }
}

}  // namespace

template <class T>
bool conv2d_backward_w(const ConvShape& s, const T* x, const T* dy, float* dw) {
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
  const auto with_groups = [&](tiles::GroupGradientTile tile) {
    return [&, tile] {
      if constexpr (std::is_same_v<T, Bf16>) return group_filter_gradient(tile, gather, s.K, x, dy, dw);
      return false;
    };
  };
  const Candidate groups_wide{"group-64x256", with_groups(tiles::GroupGradientTile::k64x256)},
      groups_square{"group-128x128", with_groups(tiles::GroupGradientTile::k128x128)};
  const Candidate large{"large", with(tiles::TileName::kLarge)},
      small{"small", with(tiles::TileName::kSmall), true};
  const bool small_first =
      tiles::usual_gradient_tile(s.K, int64_t{s.R} * s.S * s.C) == tiles::TileName::kSmall;
  std::vector<Candidate> all = {
      s.K <= 64 ? groups_wide : groups_square,
      s.K <= 64 ? groups_square : groups_wide,
      small_first ? small : large,
      small_first ? large : small,
      {"cudnn", [&] { return cudnn_backward_w(s, x, dy, dw); }},
      {"cublaslt", [&] { return library::cublaslt_backward_w(s, own.precision, x, dy, dw); }}};
  // Blocks of 64 filters and 64 channels, and strips of 16 columns: with fewer of them they multiply zeros.
  const Candidate taps{"group-taps", [&] {
                         if constexpr (std::is_same_v<T, Bf16>)
                           return tap_filter_gradient(gather, s.K, x, dy, dw);
                         return false;
                       }};
  all.insert(s.K > 32 && s.C > 32 && s.Q() > 10 ? all.begin() : all.begin() + 2, taps);
  if (few_channels::takes_gradient(s))
    all.insert(all.begin(), {"few-channels", [&] {
                               few_channels::filter_gradient(machine, own.precision, s, x, dy, dw);
                               return true;
                             }});
  if (few_filters::takes<T>(s))
    all.insert(all.begin(), {"few-filters", [&] {
                               few_filters::filter_gradient(machine, own.precision, s, x, dy, dw);
                               return true;
                             }});
  return run_fastest(problem_of<T>(2, s, 0), all, {output(dw, int64_t{s.K} * s.R * s.S * s.C)});
}

template bool conv2d_backward_w(const ConvShape&, const float*, const float*, float*);
template bool conv2d_backward_w(const ConvShape&, const Bf16*, const Bf16*, float*);

}  // namespace espalier::kernels::cuda
