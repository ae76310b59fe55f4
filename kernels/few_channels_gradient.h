#pragma once
// The filter gradient of a dense convolution of an image of few channels: rows are filters, columns elements
// of a window, the terms of a sum pixels. Both operands go from memory to registers, one step ahead; nothing
// is shared until a block adds up its warps.

#include "kernels/few_channels_forward.h"

namespace espalier::kernels::few_channels {

/// block.x is filter tile * column tiles + column tile, 32 filters by 32 elements; block.z a part of the
/// pixels, of the even or the odd ones where their windows begin at different halves of a word.
template <class T, class Math>
struct Gradient {
  static constexpr int kPerWord = Windows<T>::kPerWord, kWords = 4 / kPerWord;  ///< of a lane's four columns
  /// Floats take more registers than half of a multiprocessor's for 256 threads.
  static constexpr int kThreads = kPerWord == 2 ? 256 : 128, kBlocks = kPerWord == 2 ? 2 : 3;
  static constexpr int kWarps = kThreads / warp::kLanes;
  static constexpr int kDepth = 16, kPixels = kWarps * kDepth;  ///< of a warp's step, of all warps'
  static constexpr int kRows = 32, kColumns = 32;
  static constexpr int kSharedBytes = kWarps * 16 * kColumns * 4;
  static_assert(Math::kPerWord == kPerWord);

  Windows<T> windows;
  int filters, column_tiles;
  int length;  ///< pixels of a part
  const T* dy;
  float* sums;  ///< [parts, filters, R, S, C]

  ESPALIER_SIMT void operator()() const {
    const int shifts = windows.shifts(), parity = shifts == 2 ? warp::block().z % 2 : 0;
    const Own own = own_of(windows.shift(parity));
    // Of pixels i * shifts + parity.
    const int pixels = (windows.pixels - parity + shifts - 1) / shifts;
    const int first = warp::block().z / shifts * length;
    const int end = first + length < pixels ? first + length : pixels;
    const auto load = [&](int base) {
      return windows.whole_words() ? this->load<true>(own, base, end, shifts, parity)
                                   : this->load<false>(own, base, end, shifts, parity);
    };
    int base = first + warp::thread() / warp::kLanes * kDepth;
    Sums sum = {};
    Operands next = load(base);
    while (base < end) {
      const Operands now = next;
      base += kPixels;
      if (base < end) next = load(base);
      multiply(exist(own, now), sum);
    }
    store(windows.shift(parity), sum);
  }

 private:
  /// Four neighbours as they lie.
  using Four = std::conditional_t<kPerWord == 2, warp::Word2, warp::Word4>;
  /// Of four pixels.
  struct Operands {
    Four left[4], right[4];
    uint32_t there;  ///< a bit for each word of the right ones, then for each pixel
  };
  struct Sums {
    float of[2][4][4];
  };
  /// A lane's filters `filter` .. + 3, and the words of its four columns.
  struct Own {
    int filter;
    typename Windows<T>::Tap tap[kWords];
  };

  ESPALIER_SIMT static int lane() { return warp::thread() % warp::kLanes; }
  ESPALIER_SIMT int first_column() const { return warp::block().x % column_tiles * kColumns; }

  ESPALIER_SIMT Own own_of(int shift) const {
    Own own;
    own.filter = warp::block().x / column_tiles * kRows + lane() / 4 * 4;
    ESPALIER_UNROLL
    for (int w = 0; w < kWords; ++w)
      own.tap[w] = windows.tap((first_column() + lane() / 4 * 4) / kPerWord + w, shift);
    return own;
  }

  ESPALIER_SIMT static Four four(const T* p) {
    const auto stored = warp::load_stored(p);
    if constexpr (kPerWord == 2)
      return stored;
    else
      return {{warp::bits_of(stored.v[0]), warp::bits_of(stored.v[1]), warp::bits_of(stored.v[2]),
               warp::bits_of(stored.v[3])}};
  }

  template <bool kWhole>
  ESPALIER_SIMT Operands load(const Own& own, int base, int end, int shifts, int parity) const {
    Operands o;
    o.there = kWhole ? 0 : 0xffffu;
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int i = base + lane() % 4 * 4 + j, pixel = i * shifts + parity;
      const bool counts = i < end;
      o.there |= static_cast<uint32_t>(counts) << (16 + j);
      // Filters beyond the last are read for nothing.
      o.left[j] =
          four(dy + (counts && own.filter < filters ? int64_t{pixel} * filters + own.filter : int64_t{0}));
      const typename Windows<T>::Pixel place = windows.pixel(pixel, counts ? windows.pixels : 0);
      ESPALIER_UNROLL
      for (int w = 0; w < kWords; ++w) {
        if constexpr (kWhole) {
          bool there;
          o.right[j].v[w] = windows.load(place, own.tap[w], &there);
          o.there |= static_cast<uint32_t>(there) << (4 * j + w);
        } else {
          o.right[j].v[w] = windows.load_halves(place, own.tap[w]);
        }
      }
    }
    return o;
  }
  /// The same with zeros for what does not exist.
  ESPALIER_SIMT static Operands exist(const Own& own, const Operands& o) {
    Operands e = {};
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (o.there >> (16 + j) & 1) e.left[j] = o.left[j];
      ESPALIER_UNROLL
      for (int w = 0; w < kWords; ++w)
        e.right[j].v[w] = o.there >> (4 * j + w) & 1 ? o.right[j].v[w] & own.tap[w].mask : 0;
    }
    return e;
  }

  /// Row tile i, half h are filters 4 * group + 2i + h, column tile e has columns 4 * group + e.
  ESPALIER_SIMT static void multiply(const Operands& o, Sums& sum) {
    typename Math::A a[2];
    ESPALIER_UNROLL
    for (int i = 0; i < 2; ++i)
      a[i] = Math::left(tensor_core::column(o.left, 2 * i), tensor_core::column(o.left, 2 * i + 1));
    ESPALIER_UNROLL
    for (int e = 0; e < 4; ++e) {
      const typename Math::B b = Math::right(tensor_core::column(o.right, e));
      ESPALIER_UNROLL
      for (int i = 0; i < 2; ++i) Math::multiply(sum.of[i][e], a[i], b);
    }
  }

  /// Adds up the warps in order, one row tile after the other, and writes what belongs to a filter's element.
  ESPALIER_SIMT void store(int shift, const Sums& sum) const {
    float* to = sums + int64_t{warp::block().z} * filters * windows.R * windows.run;
    const int first_filter = warp::block().x / column_tiles * kRows;
    ESPALIER_UNROLL
    for (int i = 0; i < 2; ++i) {
      if (i) warp::barrier();
      add_warps<kWarps>(sum.of[i], [&](int from, int v, float total) {
        const int e = v / 4, d = v % 4;
        const int k = first_filter + from / 4 * 4 + 2 * i + d / 2;
        const int column = first_column() + 4 * (from % 4 * 2 + d % 2) + e;
        const typename Windows<T>::Tap tap = windows.tap(column / kPerWord, shift);
        const int half = column % kPerWord;
        if (k < filters && (half ? tap.mask >> 31 : tap.mask & 1))
          to[(int64_t{k} * windows.R + tap.r) * windows.run + tap.e + half] = total;
      });
    }
  }
};

/// Whole groups of four filters.
inline bool takes_gradient(const ConvShape& s) { return takes(s) && s.K % 4 == 0; }

/// dw as in conv2d_backward_w(), of what takes_gradient().
template <class Machine, class T>
void filter_gradient(Machine& machine, Precision precision, const ConvShape& s, const T* x, const T* dy,
                     float* dw) {
  const auto run = [&](auto math) {
    using Kernel = Gradient<T, decltype(math)>;
    const Windows<T> windows(s, x);
    const int columns = windows.words_in_all() * Windows<T>::kPerWord, shifts = windows.shifts();
    const int column_tiles = (columns + Kernel::kColumns - 1) / Kernel::kColumns,
              tiles = (s.K + Kernel::kRows - 1) / Kernel::kRows * column_tiles;
    const Parts parts((windows.pixels + shifts - 1) / shifts, Kernel::kPixels,
                      kMultiprocessors * Kernel::kBlocks / (tiles * shifts));
    const int count = parts.count * shifts;
    const int64_t elements = int64_t{s.K} * s.R * s.S * s.C;
    float* sums = count > 1 ? machine.scratch(count * elements) : dw;
    machine.launch(Kernel{windows, s.K, column_tiles, parts.length, dy, sums}, tiles, count);
    tiles::add_gradient_parts(machine, count, s.K, s.R * s.S * s.C, sums, dw);
  };
  if constexpr (tiles::kIsFloat<T>)
    tiles::with_arithmetic(precision, run);
  else
    run(tensor_core::PairedBf16());
}

}  // namespace espalier::kernels::few_channels
