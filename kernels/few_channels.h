#pragma once
// The windows of an image of few channels, as the loops of few_channels_forward.h and few_channels_gradient.h
// read them: a row of a window is a run of S * C neighbours in memory. A warp's lanes take its words from
// there as they need them; of what neighbours share, all but the first reading hits the cache.

#include <type_traits>

#include "kernels/conv_shape.h"
#include "kernels/divisor.h"
#include "kernels/warp.h"

namespace espalier::kernels::few_channels {

/// Two bf16 of a word need not belong together: a window may begin in the middle of one. So windows are
/// counted from `shift` elements before them, 0 or 1, such that no word of memory is read in halves.
template <class T>
struct Windows {
  static constexpr int kPerWord = static_cast<int>(4 / sizeof(T));

  int H, P, Q, R;
  int stride, top;
  int line;   ///< elements of a row of the image
  int run;    ///< elements of a row of a window
  int step;   ///< elements from a window to the next
  int start;  ///< elements of padding before a row
  int words;  ///< of a row of a window
  int pixels;
  bool whole;  ///< words can be read as they lie, each with its shift
  Divisor by_p, by_q;
  const T* x;

  Windows(const ConvShape& s, const T* x)
      : H(s.H),
        P(s.P()),
        Q(s.Q()),
        R(s.R),
        stride(s.stride),
        top(s.pad.top),
        line(s.W * s.C),
        run(s.S * s.C),
        step(s.stride * s.C),
        start(s.pad.left * s.C),
        words(0),
        pixels(s.N * s.P() * s.Q()),
        whole(kPerWord == 2 && line % 2 == 0 && (step % 2 == 0 || s.Q() % 2 == 0)),
        by_p(s.P()),
        by_q(s.Q()),
        x(x) {
    const int most = shift(0) > shift(1) ? shift(0) : shift(1);
    words = (run + most + kPerWord - 1) / kPerWord;
  }

  /// Of the windows of even (0) or odd (1) pixels.
  ESPALIER_HD int shift(int parity) const { return whole ? (start + parity * step) & 1 : 0; }
  ESPALIER_HD int shifts() const { return shift(0) == shift(1) ? 1 : 2; }
  ESPALIER_HD int words_in_all() const { return R * words; }

  /// Where a word of a window lies: row r, elements e and with bf16 e + 1, of which the mask takes those that
  /// exist.
  struct Tap {
    int r, e;
    uint32_t mask;
  };
  ESPALIER_SIMT Tap tap(int word, int shift) const {
    const int r = word / words, e = word % words * kPerWord - shift;
    if (r >= R) return {0, 0, 0};
    if constexpr (kPerWord == 1)
      return {r, e, 0xffffffffu};
    else
      return {r, e, (e >= 0 && e < run ? 0xffffu : 0) | (e + 1 < run ? 0xffff0000u : 0)};
  }

  /// A window's first element: where it is, and of which row and place of the image, which may lie outside.
  struct Pixel {
    int64_t at;
    int h, v;
  };
  ESPALIER_SIMT Pixel pixel(int i, int end) const {
    if (i >= end) return {0, -32768, 0};
    const int row = by_q.divide(i), n = by_p.divide(row);
    const int h = (row - n * P) * stride - top, v = (i - row * Q) * step - start;
    return {(int64_t{n} * H + h) * line + v, h, v};
  }

  /// Whether load() is to be used, not load_halves().
  ESPALIER_SIMT bool whole_words() const { return kPerWord == 1 || whole; }
  /// The word as it lies, without a look at the mask; something else where it is not `there`. So nothing
  /// waits for it before it is used.
  ESPALIER_SIMT uint32_t load(const Pixel& p, const Tap& t, bool* there) const {
    const int h = p.h + t.r, v = p.v + t.e;
    *there = t.mask && h >= 0 && h < H && v >= 0 && v < line;
    const T* from = x + (*there ? p.at + (t.r * line + t.e) : 0);
    if constexpr (kPerWord == 1)
      return warp::bits_of(*from);
    else
      return warp::load_pair(from);
  }
  /// Its two elements, 0 where one does not exist.
  ESPALIER_SIMT uint32_t load_halves(const Pixel& p, const Tap& t) const {
    const int h = p.h + t.r, v = p.v + t.e;
    const T* from = x + (p.at + (t.r * line + t.e));
    uint32_t word = 0;
    if (!t.mask || h < 0 || h >= H) return word;
    if (v >= 0 && v < line) word = bits(from[0]);
    if (t.mask >> 31 && v + 1 >= 0 && v + 1 < line) word |= bits(from[1]) << 16;
    return word;
  }

 private:
  ESPALIER_SIMT static uint32_t bits(Bf16 v) { return v.bits; }
  ESPALIER_SIMT static uint32_t bits(float v) { return warp::bits_of(v); }
};

/// Multiprocessors of an H100; a constant, so that sums do not depend on the device.
constexpr int kMultiprocessors = 132;

/// Cuts `items` in parts of whole steps: as many parts as are wanted, or as there are steps.
struct Parts {
  int count, length;
  Parts(int items, int step, int64_t wanted) {
    const int64_t steps = (int64_t{items} + step - 1) / step, most = wanted > 1 ? wanted : 1;
    length = static_cast<int>((steps + most - 1) / most) * step;
    count = (items + length - 1) / length;
  }
};

/// Adds up what the warps of a block hold, in order: put(lane, v, total) for each lane's value v = 4 * tile +
/// element. In shared memory, kWarps * kTiles * 4 floats for each lane, which the block uses for nothing
/// else.
template <int kWarps, int kTiles, class Put>
ESPALIER_SIMT void add_warps(const float (&own)[kTiles][4], const Put& put) {
  constexpr int kValues = kTiles * 4 * warp::kLanes;
  float* partial = reinterpret_cast<float*>(warp::shared());
  ESPALIER_UNROLL
  for (int v = 0; v < 4 * kTiles; ++v)
    partial[warp::thread() / warp::kLanes * kValues + v * warp::kLanes + warp::thread() % warp::kLanes] =
        own[v / 4][v % 4];
  warp::barrier();
  for (int value = warp::thread(); value < kValues; value += kWarps * warp::kLanes) {
    float total = 0;
    ESPALIER_UNROLL
    for (int w = 0; w < kWarps; ++w) total += partial[w * kValues + value];
    put(value % warp::kLanes, value / warp::kLanes, total);
  }
}

/// Few channels, and sizes that the loops' counters and tables hold.
inline bool takes(const ConvShape& s) {
  constexpr int64_t kMost = int64_t{1} << 30;
  constexpr int kSide = 30000;
  return s.C <= 4 && s.R <= 7 && s.S <= 7 && s.stride <= 2 && s.H < kSide && s.W < kSide && s.P() < kSide &&
         s.Q() < kSide && int64_t{s.N} * s.P() * s.Q() < kMost && int64_t{s.N} * s.H < kMost;
}

}  // namespace espalier::kernels::few_channels
