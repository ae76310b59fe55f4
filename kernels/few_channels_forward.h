#pragma once
// Dense convolution of an image of few channels, such as a network's first. The filters lie in shared memory
// as the tensor cores take them; the windows go from the image to registers, one step ahead.

#include "kernels/conv2d_tiles.h"
#include "kernels/few_channels.h"

namespace espalier::kernels::few_channels {

/// block.x is a tile of 32 filters, block.z a part of the pixels. Output as in implicit_gemm.h, which for one
/// that reduces gets its parts as blocks of rows. A warp takes 32 pixels at a time: even ones are row tile 0,
/// odd ones row tile 1, since their windows may begin at different halves of a word.
template <class T, class Math, class Output>
struct Forward {
  /// Sums over what is written, and floats, take more registers than a fourth block leaves.
  static constexpr int kThreads = 128, kBlocks = Output::kReduces || sizeof(T) == 4 ? 3 : 4;
  static constexpr int kWarps = kThreads / warp::kLanes, kColumns = 32, kRowTiles = 2;
  static constexpr int kPixels = kWarps * 16 * kRowTiles;  ///< of a step
  static constexpr int kChunk = 16;                        ///< words
  /// Tables of a chunk: 7 x 7 x 4 floats have 13 chunks; 7 x 7 x 3 bf16 have 5 with either shift.
  static constexpr int kMostTables = sizeof(T) == 4 ? 13 : 10;
  static constexpr int kTableWords = kChunk * (1 + kColumns);
  static constexpr int kSharedBytes = kMostTables * kTableWords * 4;
  static_assert(std::is_same_v<typename Math::Sum, float> && Math::kPerWord == Windows<T>::kPerWord);

  Windows<T> windows;
  int columns, chunks, length;
  const T* filters;  ///< [columns, R, S, C]
  Output out;

  Forward(const Windows<T>& windows, int columns, int length, const T* filters, const Output& out)
      : windows(windows),
        columns(columns),
        chunks((windows.words_in_all() + kChunk - 1) / kChunk),
        length(length),
        filters(filters),
        out(out) {}

  ESPALIER_SIMT void operator()() const {
    fill_tables();
    warp::barrier();
    const int first = warp::block().z * length;
    const int end = first + length < windows.pixels ? first + length : windows.pixels;
    int base = first + warp::thread() / warp::kLanes * 16 * kRowTiles, chunk = 0;
    Words next = load(base, end, chunk);
    Sums sum = {};
    States states = {};
    if constexpr (Output::kReduces) {
      ESPALIER_UNROLL
      for (int side = 0; side < 2; ++side)
        if (column(side) < columns) states.of[side] = out.begin(column(side));
    }
    while (base < end) {
      const Words now = next;
      const int at = base, done = chunk;
      if (++chunk == chunks) {
        chunk = 0;
        base += kPixels;
      }
      if (base < end) next = load(base, end, chunk);
      multiply(now, done, sum);
      if (chunk == 0) {
        store(at, end, sum, states);
        sum = {};
      }
    }
    if constexpr (Output::kReduces) reduce(states);
  }

 private:
  struct Words {
    warp::Word4 of[kRowTiles][2];
    uint32_t there;  ///< a bit for each
  };
  struct Sums {
    float of[kRowTiles][4][4];
  };
  struct Nothing {};
  template <class O, bool kReduces>
  struct StateOf {
    using type = Nothing;
  };
  template <class O>
  struct StateOf<O, true> {
    using type = typename O::State;
  };
  struct States {
    typename StateOf<Output, Output::kReduces>::type of[2];
  };

  /// A tap in one word, which all warps read from shared memory.
  ESPALIER_SIMT static uint32_t packed(const typename Windows<T>::Tap& t) {
    return static_cast<uint32_t>(t.r) | static_cast<uint32_t>(t.e + 1) << 8 | (t.mask & 1) << 16 |
           (t.mask >> 31) << 17;
  }
  ESPALIER_SIMT static typename Windows<T>::Tap unpacked(uint32_t p) {
    return {static_cast<int>(p & 0xff), static_cast<int>(p >> 8 & 0xff) - 1,
            (p >> 16 & 1) * 0xffffu | (p >> 17 & 1) * 0xffff0000u};
  }

  ESPALIER_SIMT int table_of(int tile, int chunk) const {
    return (windows.shifts() == 2 ? tile * chunks : 0) + chunk;
  }
  ESPALIER_SIMT static uint32_t* taps() { return reinterpret_cast<uint32_t*>(warp::shared()); }
  ESPALIER_SIMT static uint32_t* rights() { return taps() + kMostTables * kChunk; }

  /// Column n of column tile j is filter 16 * (n % 2) + 4 * (n / 2) + j: so four neighbours are one lane's,
  /// and the lanes of a row store whole sectors.
  ESPALIER_SIMT void fill_tables() const {
    const int tables = windows.shifts() * chunks;
    for (int i = warp::thread(); i < tables * kChunk; i += kThreads) taps()[i] = packed(tap_of(i));
    for (int i = warp::thread(); i < tables * kChunk * kColumns; i += kThreads) {
      const int word = i % kChunk, n = i / kChunk % 8, j = i / kChunk / 8 % 4, table = i / kChunk / kColumns;
      const int k = warp::block().x * kColumns + 16 * (n % 2) + 4 * (n / 2) + j;
      rights()[i] = k < columns ? filter_word(k, tap_of(table * kChunk + word)) : 0;
    }
  }
  ESPALIER_SIMT typename Windows<T>::Tap tap_of(int i) const {
    return windows.tap(i % (chunks * kChunk), windows.shift(i / (chunks * kChunk)));
  }
  ESPALIER_SIMT uint32_t filter_word(int k, const typename Windows<T>::Tap& t) const {
    const T* from = filters + (int64_t{k} * windows.R + t.r) * windows.run + t.e;
    if constexpr (sizeof(T) == 4)
      return t.mask ? warp::bits_of(*from) : 0;
    else
      return (t.mask & 1 ? from[0].bits : 0u) | (t.mask >> 31 ? uint32_t{from[1].bits} << 16 : 0u);
  }

  ESPALIER_SIMT static int lane() { return warp::thread() % warp::kLanes; }
  ESPALIER_SIMT int column(int side) const { return warp::block().x * kColumns + 16 * side + lane() % 4 * 4; }
  ESPALIER_SIMT static int pixel_of(int base, int tile, int half) {
    return base + kRowTiles * (lane() / 4 + 8 * half) + tile;
  }

  ESPALIER_SIMT warp::Word4 taps_of(int tile, int chunk) const {
    return warp::load4(taps() + table_of(tile, chunk) * kChunk + lane() % 4 * 4);
  }

  ESPALIER_SIMT Words load(int base, int end, int chunk) const {
    return windows.whole_words() ? load<true>(base, end, chunk) : load<false>(base, end, chunk);
  }
  template <bool kWhole>
  ESPALIER_SIMT Words load(int base, int end, int chunk) const {
    Words w;
    w.there = kWhole ? 0 : 0xffffffffu;
    ESPALIER_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      const warp::Word4 four = taps_of(i, chunk);
      ESPALIER_UNROLL
      for (int half = 0; half < 2; ++half) {
        const typename Windows<T>::Pixel pixel = windows.pixel(pixel_of(base, i, half), end);
        ESPALIER_UNROLL
        for (int k = 0; k < 4; ++k) {
          uint32_t& word = w.of[i][half].v[k];
          if constexpr (kWhole) {
            bool there;
            word = windows.load(pixel, unpacked(four.v[k]), &there);
            w.there |= static_cast<uint32_t>(there) << bit(i, half, k);
          } else {
            word = windows.load_halves(pixel, unpacked(four.v[k]));
          }
        }
      }
    }
    return w;
  }
  ESPALIER_SIMT static constexpr int bit(int tile, int half, int word) {
    return (tile * 2 + half) * 4 + word;
  }

  ESPALIER_SIMT void multiply(const Words& words, int chunk, Sums& sum) const {
    ESPALIER_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      warp::Word4 exist[2];
      const warp::Word4 four = taps_of(i, chunk);
      ESPALIER_UNROLL
      for (int half = 0; half < 2; ++half) ESPALIER_UNROLL
      for (int k = 0; k < 4; ++k)
        exist[half].v[k] =
            words.there >> bit(i, half, k) & 1 ? words.of[i][half].v[k] & unpacked(four.v[k]).mask : 0;
      const typename Math::A a = Math::left(exist[0], exist[1]);
      const uint32_t* right = rights() + table_of(i, chunk) * kChunk * kColumns + lane() * 4;
      ESPALIER_UNROLL
      for (int j = 0; j < 4; ++j)
        Math::multiply(sum.of[i][j], a, Math::right(warp::load4(right + j * 8 * kChunk)));
    }
  }

  ESPALIER_SIMT void store(int base, int end, const Sums& sum, States& states) const {
    ESPALIER_UNROLL
    for (int side = 0; side < 2; ++side) {
      if (column(side) >= columns) break;
      ESPALIER_UNROLL
      for (int i = 0; i < kRowTiles; ++i) ESPALIER_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int pixel = pixel_of(base, i, half);
        if (pixel >= end) continue;
        float v[4];
        ESPALIER_UNROLL
        for (int j = 0; j < 4; ++j) v[j] = sum.of[i][j][2 * half + side];
        if constexpr (Output::kReduces)
          out.store(states.of[side], pixel, column(side), v);
        else
          out.store(pixel, column(side), v);
      }
    }
  }

  /// Merges what the lanes, then the warps have of each column, in order.
  ESPALIER_SIMT void reduce(const States& states) const {
    using Value = typename Output::Value;
    static_assert(kWarps * kColumns * static_cast<int>(sizeof(Value)) <= kSharedBytes);
    warp::barrier();  // the tables have been read
    Value* partial = reinterpret_cast<Value*>(warp::shared());
    ESPALIER_UNROLL
    for (int side = 0; side < 2; ++side) ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      Value v = Output::value(states.of[side], k);
      ESPALIER_UNROLL
      for (int mask = 4; mask < warp::kLanes; mask *= 2) v = Output::merge(v, Output::shuffle(v, mask));
      if (lane() < 4) partial[warp::thread() / warp::kLanes * kColumns + 16 * side + lane() * 4 + k] = v;
    }
    warp::barrier();
    const int own = warp::block().x * kColumns + warp::thread();
    if (warp::thread() >= kColumns || own >= columns) return;
    Value total = partial[warp::thread()];
    for (int i = 1; i < kWarps; ++i) total = Output::merge(total, partial[i * kColumns + warp::thread()]);
    out.keep(warp::block().z, own, total);
  }
};

/// run(Math{}) with the arithmetic of operands that are T in memory.
template <class T, class Run>
void with_math(Precision precision, const Run& run) {
  if constexpr (tiles::kIsFloat<T>)
    tiles::with_arithmetic(precision, run);
  else
    run(tensor_core::StoredBf16());
}

/// make(parts) gives the Output.
template <class Output, class Machine, class T, class Make>
void run_forward(Machine& machine, Precision precision, const ConvShape& s, const T* x, const T* filters,
                 const Make& make) {
  with_math<T>(precision, [&](auto math) {
    using Kernel = Forward<T, decltype(math), Output>;
    const Windows<T> windows(s, x);
    const int column_tiles = (s.K + Kernel::kColumns - 1) / Kernel::kColumns;
    const Parts parts(windows.pixels, Kernel::kPixels, kMultiprocessors * Kernel::kBlocks / column_tiles);
    machine.launch(Kernel(windows, s.K, parts.length, filters, make(parts.count)), column_tiles, parts.count);
  });
}

template <class Machine, class T>
void forward(Machine& machine, Precision precision, const ConvShape& s, const T* x, const T* filters,
             const EpilogueOf<T>& e, T* y) {
  using Output = tiles::ElementOutput<T>;
  run_forward<Output>(machine, precision, s, x, filters, [&](int) {
    return Output{e, s.K, 0, s.K % 4 == 0, y};
  });
}

/// Whether forward_with_moments() takes what takes() does: whole groups of four columns.
inline bool takes_moments(const ConvShape& s) { return takes(s) && s.K % 4 == 0; }

/// y = conv, moments [2,K] of y.
template <class Machine, class T>
void forward_with_moments(Machine& machine, Precision precision, const ConvShape& s, const T* x,
                          const T* filters, T* y, float* moments) {
  using Output = tiles::MomentsOutput<T>;
  float* sums = nullptr;
  int parts = 0;
  run_forward<Output>(machine, precision, s, x, filters, [&](int count) {
    parts = count;
    sums = machine.scratch(channels::moment_floats(count, s.K));
    return Output{s.K, y, sums};
  });
  channels::merge_moments<Machine, float>(machine, parts, s.K, nullptr, sums, moments, moments + s.K);
}

}  // namespace espalier::kernels::few_channels
