#pragma once
// Which loop computes an INT8 convolution of the GPU, in the arithmetic of quantized_conv2d.h: dense ones on
// the tensor cores, depthwise ones with four products an instruction. Sums are exact, so any order gives the
// shared body's bits.

#include <type_traits>

#include "kernels/conv2d_tiles.h"
#include "kernels/quantized_depthwise.h"
#include "kernels/quantized_few_channels.h"
#include "kernels/quantized_pointwise.h"

namespace espalier::kernels::tiles {

/// Adds up the parts and requantises. One row is one row of y.
struct FinishCodes {
  int parts;
  int64_t part_elements;
  int columns;
  const int32_t* sums;
  Requantize r;
  Code code;
  void* y;
  template <int T>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    for (int c = c0; c < c0 + n; ++c) {
      const int64_t at = row * columns + c;
      int32_t sum = 0;
      for (int part = 0; part < parts; ++part) sum += sums[part * part_elements + at];
      store_requantized(r, sum, c, at, code, y);
    }
  }
};

template <class Machine, class Math>
struct QuantizedConv2d {
  Machine& machine;
  const ConvShape& s;
  const void* x;
  const int8_t* w;
  const Requantize& r;
  Code code;
  void* y;

  void run() const {
    const int64_t rows = int64_t{s.N} * s.P() * s.Q();
    if (s.C % 4)
      with<Small, 0>();
    else if (s.C % 16)
      with<Small, 4>();
    else if (usual_tile(rows, s.K) == TileName::kNarrow)
      with<Narrow, 16>();
    else if (usual_tile(rows, s.K) == TileName::kSmall)
      with<Small, 16>();
    else
      with<Medium, 16>();
  }

  template <class Tile, int kUnit>
  void with() const {
    using Kernel = ImplicitGemm<Math, Tile, kUnit, CodeOutput>;
    const int64_t rows = int64_t{s.N} * s.P() * s.Q(), elements = rows * s.K;
    const int64_t blocks = tiles_of(rows, s.K, Tile::kM, Tile::kN);
    constexpr int kStep = Kernel::kWords * Math::kPerWord;
    const Parts parts = parts_of(blocks, (int64_t{s.R} * s.S * s.C + kStep - 1) / kStep, kLeastSteps);
    int32_t* sums =
        parts.count > 1 ? reinterpret_cast<int32_t*>(machine.scratch(parts.count * elements)) : nullptr;
    const CodeOutput out{r, s.K, elements, s.K % 4 == 0, code, y, sums};
    machine.launch(Kernel{forward_gather(s), s.K, (s.K + Tile::kN - 1) / Tile::kN, parts.steps, x, w, out},
                   blocks, parts.count);
    if (sums) machine.for_each_row(rows, s.K, FinishCodes{parts.count, elements, s.K, sums, r, code, y});
  }
};

/// Sizes and types that the loops take.
inline bool takes_quantized(const ConvShape& s, Code x_code) { return x_code != Code::kF32 && fits(s); }
inline bool takes_quantized_depthwise(const ConvShape& s, Code x_code) {
  return takes_quantized(s, x_code) && takes_depthwise(s);
}

template <class Machine>
void quantized_conv2d(Machine& machine, const ConvShape& s, Code x_code, const void* x, const int8_t* w,
                      const Requantize& r, Code y_code, void* y) {
  const auto run = [&]<bool kUnsigned>() {
    using Math = std::conditional_t<kUnsigned, tensor_core::U8, tensor_core::S8>;
    const CodeOutput out{r, s.K, 0, s.K % 4 == 0, y_code, y, nullptr};
    if (takes_few_channels(s)) return few_channels<Machine, kUnsigned>(machine, s, x, w, out);
    if (SmallPointwise<Machine, Math>{machine, s, x, w, out}.run()) return;
    QuantizedConv2d<Machine, Math>{machine, s, x, w, r, y_code, y}.run();
  };
  if (x_code == Code::kU8)
    run.template operator()<true>();
  else
    run.template operator()<false>();
}

template <class Machine>
void quantized_depthwise(Machine& machine, const ConvShape& s, Code x_code, const void* x, const int8_t* w,
                         const Requantize& r, Code y_code, void* y) {
  const CodeOutput out{r, s.C, 0, true, y_code, y, nullptr};
  if (x_code == Code::kU8)
    depthwise<Machine, true>(machine, s, x, w, out);
  else
    depthwise<Machine, false>(machine, s, x, w, out);
}

}  // namespace espalier::kernels::tiles
