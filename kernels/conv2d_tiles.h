#pragma once
// Which tile loop computes a dense convolution, in what grid and in how many parts. The same choice drives
// the GPU and, in the tests, the emulator: `launch(kernel, blocks_x, blocks_z)` runs a kernel,
// `scratch(floats)` gives working memory, and finish() adds up the parts.

#include <type_traits>

#include "kernels/channel_sums.h"
#include "kernels/conv2d.h"
#include "kernels/conv2d_reducing_outputs.h"
#include "kernels/filter_gradient_gemm.h"
#include "kernels/host_device.h"
#include "kernels/implicit_gemm.h"
#include "kernels/precision.h"
#include "kernels/sum_parts.h"

namespace espalier::kernels::tiles {

/// Writes y = act(sum + bias + residual), or plain sums per part.
template <class T>
struct ElementOutput {
  static constexpr bool kReduces = false;
  EpilogueOf<T> e;
  int64_t columns;
  int64_t part_elements;  ///< from one part's sums to the next
  bool vectors;           ///< columns fill whole groups of four
  T* y;

  ESPALIER_SIMT void store(int row, int column, const float (&sum)[4]) const {
    const int64_t at = row * columns + column;
    T* to = y + warp::block().z * part_elements + at;
    if (vectors) {
      warp::Float4 v = {{sum[0], sum[1], sum[2], sum[3]}};
      if (e.bias) add(v, warp::load4(e.bias + column));
      if (e.residual) add(v, warp::load4(e.residual + at));
      ESPALIER_UNROLL
      for (int j = 0; j < 4; ++j) v.v[j] = e.act(v.v[j]);
      warp::store4(to, v);
      return;
    }
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (column + j >= columns) break;
      float v = sum[j];
      if (e.bias) v += e.bias[column + j];
      if (e.residual) v += e.residual[at + j];
      to[j] = e.act(v);
    }
  }
  ESPALIER_SIMT static void add(warp::Float4& v, const warp::Float4& other) {
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j) v.v[j] += other.v[j];
  }
};

/// y = act(sum of the parts in order + bias + residual). One row is one row of y.
template <class T, class Sum = float>
struct FinishParts {
  int parts;
  int64_t part_elements;
  int columns;
  const Sum* sums;
  EpilogueOf<T> e;
  T* y;
  template <int>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int64_t first = row * columns + c0;
    for (int c = 0; c < n; ++c) {
      float v = sums[first + c];
      for (int part = 1; part < parts; ++part) v += sums[part * part_elements + first + c];
      if (e.bias) v += e.bias[c0 + c];
      if (e.residual) v += e.residual[first + c];
      y[first + c] = e.act(v);
    }
  }
};

using Large = tensor_core::TileShape<2, 4, 4, 1>;   ///< 128 x 128
using Medium = tensor_core::TileShape<2, 2, 4, 2>;  ///< 128 x 64
using Narrow = tensor_core::TileShape<4, 1, 2, 3>;  ///< 128 x 32
using Small = tensor_core::TileShape<2, 2, 2, 3>;   ///< 64 x 64

/// Blocks that keep a large GPU busy; a constant, so that the number of parts does not depend on the device.
constexpr int kBlocksWanted = 256;
/// A part is not worth its traffic below this many steps.
constexpr int kLeastSteps = 4;

struct Parts {
  int count, steps;  ///< of one part
};
inline Parts parts_of(int64_t blocks, int64_t steps, int least_steps) {
  const int64_t wanted = blocks >= kBlocksWanted ? 1 : kBlocksWanted / blocks;
  const int64_t most = steps / least_steps > 0 ? steps / least_steps : 1;
  const int64_t count = wanted < most ? wanted : most;
  const int64_t length = (steps + count - 1) / count;
  return {static_cast<int>((steps + length - 1) / length), static_cast<int>(length)};
}

inline int64_t tiles_of(int64_t rows, int64_t columns, int m, int n) {
  return (rows + m - 1) / m * ((columns + n - 1) / n);
}

enum class TileName { kLarge, kMedium, kNarrow, kSmall };

/// The tile that keeps the GPU busy without reading too much twice.
inline TileName usual_tile(int64_t rows, int64_t columns) {
  if (columns <= 32) return TileName::kNarrow;
  if (tiles_of(rows, columns, 128, 64) < kBlocksWanted) return TileName::kSmall;
  if (columns <= 64 || tiles_of(rows, columns, 128, 128) < kBlocksWanted) return TileName::kMedium;
  return TileName::kLarge;
}
inline TileName usual_gradient_tile(int64_t filters, int64_t columns) {
  return filters <= 64 || columns <= 64 ? TileName::kSmall : TileName::kLarge;
}

/// run(Math{}) with the arithmetic of fp32 operands in memory.
template <class Run>
void with_arithmetic(Precision precision, const Run& run) {
  if (precision == Precision::kFp32)
    run(tensor_core::SplitTf32());
  else if (precision == Precision::kTf32)
    run(tensor_core::Tf32());
  else
    run(tensor_core::RoundedBf16());
}

template <class T>
constexpr bool kIsFloat = std::is_same_v<T, float>;

/// Elements of a copy of 16 bytes.
template <class T>
constexpr int kPerUnit = static_cast<int>(16 / sizeof(T));

/// dw [filters, columns] = the sum of its parts, in order; one part is dw already.
template <class Machine>
void add_gradient_parts(Machine& machine, int parts, int filters, int columns, const float* sums, float* dw) {
  const int64_t elements = int64_t{filters} * columns;
  if (parts >= SumParts::kAtOnce)
    machine.launch(SumParts{elements, parts, sums, dw}, SumParts::blocks(elements), 1);
  else if (parts > 1)
    machine.for_each_row(filters, columns, FinishParts<float>{parts, elements, columns, sums, {}, dw});
}

/// What a pass over the tensor cores runs on: see the head of this file. Images, filters and results are
/// floats, multiplied as `precision` says, or Bf16.
template <class Machine>
struct Conv2d {
  Machine& machine;
  Precision precision;

  /// y[row, k] = act(sum over taps and channels of image * filters[k, r, s, c] ...)
  template <class T>
  void gather_gemm(TileName tile, const Gather& g, int columns, const T* image, const T* filters,
                   const EpilogueOf<T>& e, T* y) const {
    if constexpr (kIsFloat<T>)
      with_arithmetic(
          precision, [&](auto math) { choose_tile<decltype(math)>(tile, g, columns, image, filters, e, y); });
    else
      choose_tile<tensor_core::StoredBf16>(tile, g, columns, image, filters, e, y);
  }
  template <class T>
  void gather_gemm(const Gather& g, int columns, const T* image, const T* filters, const EpilogueOf<T>& e,
                   T* y) const {
    gather_gemm(usual_tile(int64_t{g.N} * g.P * g.Q, columns), g, columns, image, filters, e, y);
  }

  /// sums over output pixels of dy[m, k] * x[pixel of m and tap, c]; the tile is large or small.
  template <class T>
  void filter_gradient(TileName tile, const Gather& g, int filters, const T* x, const T* dy,
                       float* dw) const {
    if constexpr (kIsFloat<T>)
      with_arithmetic(precision,
                      [&](auto math) { choose_gradient_tile<decltype(math)>(tile, g, filters, x, dy, dw); });
    else
      choose_gradient_tile<tensor_core::PairedBf16>(tile, g, filters, x, dy, dw);
  }
  template <class T>
  void filter_gradient(const Gather& g, int filters, const T* x, const T* dy, float* dw) const {
    filter_gradient(usual_gradient_tile(filters, int64_t{g.R} * g.S * g.C), g, filters, x, dy, dw);
  }

  template <class Math, class T>
  void choose_tile(TileName tile, const Gather& g, int columns, const T* image, const T* filters,
                   const EpilogueOf<T>& e, T* y) const {
    if (g.C % kPerUnit<T>) {
      if constexpr (!kIsFloat<T>) {
        if (g.C % 2) return run_gather<Math, Small, 0>(g, columns, image, filters, e, y);
        if (g.C % 4 == 0) return run_gather<Math, Small, 8>(g, columns, image, filters, e, y);
      }
      run_gather<Math, Small, 4>(g, columns, image, filters, e, y);
    } else if (tile == TileName::kNarrow)
      run_gather<Math, Narrow, 16>(g, columns, image, filters, e, y);
    else if (tile == TileName::kSmall)
      run_gather<Math, Small, 16>(g, columns, image, filters, e, y);
    else if (tile == TileName::kMedium)
      run_gather<Math, Medium, 16>(g, columns, image, filters, e, y);
    else
      run_gather<Math, Large, 16>(g, columns, image, filters, e, y);
  }

  template <class Math, class Tile, int kUnit, class T>
  void run_gather(const Gather& g, int columns, const T* image, const T* filters, const EpilogueOf<T>& e,
                  T* y) const {
    const int64_t rows = int64_t{g.N} * g.P * g.Q, elements = rows * columns;
    const int64_t blocks = tiles_of(rows, columns, Tile::kM, Tile::kN);
    const auto run = [&](const auto& out, const Parts& parts) {
      machine.launch(
          ImplicitGemm<Math, Tile, kUnit, std::decay_t<decltype(out)>>{
              g, columns, (columns + Tile::kN - 1) / Tile::kN, parts.steps, image, filters, out},
          blocks, parts.count);
    };
    constexpr int kStep = ImplicitGemm<Math, Tile, kUnit, ElementOutput<T>>::kStepElements;
    const Parts parts = parts_of(blocks, (int64_t{g.R} * g.S * g.C + kStep - 1) / kStep, kLeastSteps);
    const bool vectors = columns % 4 == 0;
    if (parts.count == 1) return run(ElementOutput<T>{e, columns, elements, vectors, y}, parts);
    float* sums = machine.scratch(parts.count * elements);
    run(ElementOutput<float>{{}, columns, elements, vectors, sums}, parts);
    machine.for_each_row(rows, columns, FinishParts<T>{parts.count, elements, columns, sums, e, y});
  }

  template <class Math, class T>
  void choose_gradient_tile(TileName tile, const Gather& g, int filters, const T* x, const T* dy,
                            float* dw) const {
    // An image's three channels, or the few filters of a last layer, should not slow the other operand down.
    constexpr int kAny = kIsFloat<T> ? 4 : 0;
    if (g.C % kPerUnit<T> && filters % kPerUnit<T>) {
      if constexpr (!kIsFloat<T>)
        if (g.C % 4 == 0 && filters % 4 == 0) return run_gradient<Math, Small, 8>(g, filters, x, dy, dw);
      run_gradient<Math, Small, kAny>(g, filters, x, dy, dw);
    } else if (g.C % kPerUnit<T>) {
      run_gradient<Math, Small, kAny, 16>(g, filters, x, dy, dw);
    } else if (filters % kPerUnit<T>) {
      run_gradient<Math, Small, 16, kAny>(g, filters, x, dy, dw);
    } else if (tile == TileName::kSmall)
      run_gradient<Math, Small, 16>(g, filters, x, dy, dw);
    else
      run_gradient<Math, Large, 16>(g, filters, x, dy, dw);
  }

  template <class Math, class Tile, int kUnit, int kLeftUnit = kUnit, class T, class Load = PlainLoad>
  void run_gradient(const Gather& g, int filters, const T* x, const T* dy, float* dw,
                    const Load& load = {}) const {
    using Kernel = FilterGradientGemm<T, Math, Tile, kUnit, Load, kLeftUnit>;
    const int columns = g.R * g.S * g.C;
    const int64_t blocks = tiles_of(filters, columns, Tile::kM, Tile::kN),
                  elements = int64_t{filters} * columns;
    const int64_t steps = (int64_t{g.N} * g.P * g.Q + Kernel::kPixels - 1) / Kernel::kPixels;
    const Parts parts = parts_of(blocks, steps, kLeastSteps);
    float* sums = parts.count > 1 ? machine.scratch(parts.count * elements) : dw;
    machine.launch(Kernel{g, Divisor(g.P), Divisor(g.Q), filters, (columns + Tile::kN - 1) / Tile::kN,
                          parts.steps, x, dy, sums, load},
                   blocks, parts.count);
    add_gradient_parts(machine, parts.count, filters, columns, sums, dw);
  }
};

/// Convolutions that also reduce what they write, with the two tiles of 128 rows. Only whole units of
/// channels and groups of four columns, and sums in one part: takes_reducing().
template <class Machine>
struct ReducingConv2d {
  Machine& machine;
  Precision precision;

  /// y = conv, moments [2,K] of y; through the norm of the image if there is one.
  template <class T>
  void forward_with_moments(const Gather& g, int columns, const T* image, const InputNorm& norm,
                            const T* filters, T* y, float* moments) const {
    const int blocks = row_blocks(g);
    float* parts = machine.scratch(channels::moment_floats(blocks, columns));
    const MomentsOutput<T> out{columns, y, parts};
    if (!norm.factor)
      run(g, columns, image, filters, out, PlainLoad{});
    else if constexpr (kIsFloat<T>)
      run(g, columns, image, filters, out, NormLoad{norm});
    else
      run(g, columns, image, filters, out, NormLoadOfPairs{{norm}});
    channels::merge_moments<Machine, float>(machine, blocks, columns, nullptr, parts, moments,
                                            moments + columns);
  }

  /// dx through the norm of x; sums [2,columns] as in NormedGradients.
  template <class T>
  void gradient_through_norm(const Gather& g, int columns, const T* dy, const T* filters, const T* x,
                             const InputNorm& norm, T* dx, float* sums) const {
    constexpr int kCount = NormGradientOutput<T>::kCount;
    const int blocks = row_blocks(g), width = kCount * columns;
    const channels::RowParts stages(blocks, width);
    float* parts = machine.scratch(int64_t{blocks} * width + int64_t{stages.count()} * width);
    run(g, columns, dy, filters, NormGradientOutput<T>{columns, x, norm, dx, parts}, PlainLoad{});
    float* second = parts + int64_t{blocks} * width;
    machine.launch(channels::Sums<channels::Elements<>>{stages, {parts}, second}, stages.blocks(),
                   stages.count());
    machine.launch(SumParts{width, stages.count(), second, sums}, SumParts::blocks(width), 1);
  }

 private:
  static int row_blocks(const Gather& g) {
    return static_cast<int>((int64_t{g.N} * g.P * g.Q + Medium::kM - 1) / Medium::kM);
  }

  template <class T, class Output, class Load>
  void run(const Gather& g, int columns, const T* image, const T* filters, const Output& out,
           const Load& load) const {
    if constexpr (kIsFloat<T>)
      with_arithmetic(precision,
                      [&](auto math) { with_tile<decltype(math)>(g, columns, image, filters, out, load); });
    else
      with_tile<tensor_core::StoredBf16>(g, columns, image, filters, out, load);
  }
  template <class Math, class Output, class Load>
  void with_tile(const Gather& g, int columns, const void* image, const void* filters, const Output& out,
                 const Load& load) const {
    if (columns <= 32)
      launch<Math, Narrow>(g, columns, image, filters, out, load);
    else
      launch<Math, Medium>(g, columns, image, filters, out, load);
  }
  template <class Math, class Tile, class Output, class Load>
  void launch(const Gather& g, int columns, const void* image, const void* filters, const Output& out,
              const Load& load) const {
    static_assert(Tile::kM == Medium::kM);
    using Kernel = ImplicitGemm<Math, Tile, 16, Output, Load>;
    const int steps = (g.R * g.S * g.C + Kernel::kStepElements - 1) / Kernel::kStepElements;
    const int column_tiles = (columns + Tile::kN - 1) / Tile::kN;
    machine.launch(Kernel{g, columns, column_tiles, steps, image, filters, out, load},
                   tiles_of(int64_t{g.N} * g.P * g.Q, columns, Tile::kM, Tile::kN), 1);
  }
};

/// dw of a convolution of one pixel without padding, whose image is read through a norm.
template <class Machine, class T>
void normed_filter_gradient(Machine& machine, Precision precision, const Gather& g, int filters, const T* x,
                            const InputNorm& norm, const T* dy, float* dw) {
  const Conv2d<Machine> conv{machine, precision};
  const auto run = [&](auto math) {
    conv.template run_gradient<decltype(math), Small, 16>(g, filters, x, dy, dw, NormLoad{norm});
  };
  if constexpr (kIsFloat<T>)
    with_arithmetic(precision, run);
  else
    run(tensor_core::PairedBf16());
}

/// Whether a norm can be taken where the image is read: no tap lies outside it.
template <class T>
bool takes_normed(const ConvShape& s) {
  return s.R == 1 && s.S == 1 && s.pad == Padding{} && s.C % kPerUnit<T> == 0 && s.K % kPerUnit<T> == 0;
}

template <class T>
bool takes_reducing(const Gather& g, int columns) {
  return g.C % kPerUnit<T> == 0 && columns % 4 == 0;
}

/// The forward convolution as a gather.
inline Gather forward_gather(const ConvShape& s) {
  return {s.N, s.H, s.W, s.C, s.P(), s.Q(), s.R, s.S, s.stride, s.pad.top, s.pad.left, 1};
}
/// The data gradient: a convolution of dy with filters turned by half a turn, [C,R,S,K].
inline Gather backward_gather(const ConvShape& s) {
  return {s.N, s.P(), s.Q(), s.K, s.H, s.W, s.R, s.S, 1, s.R - 1 - s.pad.top, s.S - 1 - s.pad.left, s.stride};
}

/// turned[c, R-1-r, S-1-t, k] = w[k, r, t, c]. One item is one element of `turned`.
template <class T>
struct TurnFilters {
  int K, R, S, C;
  const float* w;
  T* turned;
  ESPALIER_HD void operator()(int64_t i) const {
    const int64_t k = i % K, tap = i / K % (R * S), c = i / K / (R * S);
    turned[i] = w[(k * R * S + (R * S - 1 - tap)) * C + c];
  }
};

/// Sizes that the loops' 32-bit counters hold.
inline bool fits(const ConvShape& s) {
  constexpr int64_t kMost = int64_t{1} << 31;
  constexpr int kSide = 30000;
  return s.H < kSide && s.W < kSide && s.P() < kSide && s.Q() < kSide && int64_t{s.N} * s.H * s.W < kMost &&
         int64_t{s.N} * s.P() * s.Q() < kMost && int64_t{s.R} * s.S * s.C < kMost &&
         int64_t{s.R} * s.S * s.K < kMost;
}

}  // namespace espalier::kernels::tiles
