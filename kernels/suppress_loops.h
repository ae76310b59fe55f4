#pragma once
// Non-maximum suppression on the GPU: a block a class. It finds the score that the best top_k reach digit by
// digit, sorts those, and lets each that is left suppress all behind it at once.

#include "kernels/suppress.h"
#include "kernels/warp.h"

namespace espalier::kernels::suppression {

struct SuppressClass {
  static constexpr int kThreads = 256, kBlocks = 1, kMost = kMostSuppressed, kDigits = 256;

  struct Shared {
    uint64_t keys[kMost];
    float x0[kMost], y0[kMost], x1[kMost], y1[kMost], area[kMost];
    uint32_t gone[kMost];
    uint32_t bins[kDigits];
    uint64_t prefix;
    uint32_t left, done, count;
  };
  static constexpr int kSharedBytes = (sizeof(Shared) + 15) / 16 * 16;

  SuppressProblem p;
  KeptBox* kept;
  int32_t* counts;

  /// visit(key) for the boxes of class k that may be objects, a share of them by each thread.
  template <class Visit>
  ESPALIER_SIMT void for_each_key(int k, const Visit& visit) const {
    const float* scores = p.scores + k * p.boxes;
    for (int64_t i = warp::thread(); i < p.boxes; i += kThreads)
      if (scores[i] > p.threshold) visit(rank_key(scores[i], i));
  }

  /// A key that as many as enter reach, and no more than top_k.
  ESPALIER_SIMT uint64_t least_key(int k, Shared& s) const {
    if (warp::thread() == 0) s.prefix = 0, s.done = 0, s.left = static_cast<uint32_t>(p.top_k);
    for (int shift = 56; shift >= 0; shift -= 8) {
      for (int i = warp::thread(); i < kDigits; i += kThreads) s.bins[i] = 0;
      warp::barrier();
      const uint64_t prefix = s.prefix;
      for_each_key(k, [&](uint64_t key) {
        if (shift == 56 || key >> (shift + 8) == prefix >> (shift + 8))
          warp::add_count(&s.bins[key >> shift & (kDigits - 1)], 1);
      });
      warp::barrier();
      if (warp::thread() == 0) choose_digit(shift, s);
      warp::barrier();
      if (s.done) break;
    }
    return s.prefix;
  }

  /// The digit in which the last that enters lies; done when all with that digit enter, or all there are.
  ESPALIER_SIMT static void choose_digit(int shift, Shared& s) {
    int digit = kDigits - 1;
    while (digit > 0 && s.bins[digit] < s.left) s.left -= s.bins[digit--];
    s.prefix |= static_cast<uint64_t>(digit) << shift;
    s.done = s.bins[digit] <= s.left;
  }

  /// Bitonic, falling; `size` is a power of two.
  ESPALIER_SIMT static void sort(uint64_t* keys, int size) {
    for (int run = 2; run <= size; run *= 2)
      for (int step = run / 2; step > 0; step /= 2) {
        for (int i = warp::thread(); i < size; i += kThreads) {
          const int other = i ^ step;
          if (other < i) continue;
          const bool falling = (i & run) == 0;
          const uint64_t a = keys[i], b = keys[other];
          if (falling ? a < b : a > b) keys[i] = b, keys[other] = a;
        }
        warp::barrier();
      }
  }

  /// Brings the boxes that enter into shared memory, best first; how many they are.
  ESPALIER_SIMT int gather(int k, Shared& s) const {
    const uint64_t least = least_key(k, s);
    if (warp::thread() == 0) s.count = 0;
    warp::barrier();
    for_each_key(k, [&](uint64_t key) {
      if (key >= least) s.keys[warp::add_count(&s.count, 1)] = key;
    });
    warp::barrier();
    const int count = static_cast<int>(s.count);
    int size = 1;
    while (size < count) size *= 2;
    for (int i = count + warp::thread(); i < size; i += kThreads) s.keys[i] = 0;
    warp::barrier();
    sort(s.keys, size);
    for (int i = warp::thread(); i < count; i += kThreads) {
      const int64_t at = index_of_key(s.keys[i]);
      s.x0[i] = p.corners[at];
      s.y0[i] = p.corners[p.boxes + at];
      s.x1[i] = p.corners[2 * p.boxes + at];
      s.y1[i] = p.corners[3 * p.boxes + at];
      s.area[i] = (s.x1[i] - s.x0[i] + p.plus) * (s.y1[i] - s.y0[i] + p.plus);
      s.gone[i] = 0;
    }
    warp::barrier();
    return count;
  }

  ESPALIER_SIMT void operator()() const {
    Shared& s = *reinterpret_cast<Shared*>(warp::shared());
    const int k = warp::block().x, count = gather(k, s);
    int found = 0;
    for (int i = 0; i < count && found < p.keep; ++i) {
      if (s.gone[i]) continue;  // nobody writes it any more: all before i are through
      const float left = s.x0[i], top = s.y0[i], right = s.x1[i] + p.plus, bottom = s.y1[i] + p.plus;
      if (warp::thread() == 0)
        kept[int64_t{k} * p.keep + found] = {left, top, s.x1[i], s.y1[i],
                                             warp::float_of(static_cast<uint32_t>(s.keys[i] >> 32))};
      ++found;
      // Not unrolled: of four turns ptxas 13.0 stores the marks 8 KiB behind their place, beyond the shared
      // memory, which only more than 768 boxes of a class reach.
      ESPALIER_NO_UNROLL
      for (int j = i + 1 + warp::thread(); j < count; j += kThreads) {
        const float r = s.x1[j] + p.plus, b = s.y1[j] + p.plus;
        const float w = (right < r ? right : r) - (left > s.x0[j] ? left : s.x0[j]);
        const float h = (bottom < b ? bottom : b) - (top > s.y0[j] ? top : s.y0[j]);
        const float both = (w > 0 ? w : 0.0f) * (h > 0 ? h : 0.0f);
        if (both > p.overlap * (s.area[i] + s.area[j] - both)) s.gone[j] = 1;
      }
      warp::barrier();
    }
    if (warp::thread() == 0) counts[k] = found;
  }
};

}  // namespace espalier::kernels::suppression
