#pragma once
// How a block adds up what its threads have of four channels each. A block is kGroups groups of channels by
// kThreads / kGroups threads that share a group; thread t has group t % kGroups. Always in the same order.

#include "kernels/warp.h"

namespace espalier::kernels::channels {

using warp::Float4;

constexpr int kGroups = 8;

/// Count, mean and sum of squared distances from it (Chan, Golub and LeVeque 1979).
struct Moments {
  float count, mean, squares;
  ESPALIER_SIMT static Moments merge(const Moments& a, const Moments& b) {
    const float n = a.count + b.count;
    if (n == 0) return a;
    const float apart = b.mean - a.mean, share = b.count / n;
    return {n, a.mean + apart * share, a.squares + b.squares + apart * apart * a.count * share};
  }
};

/// Shared memory that the functions below need.
template <int kThreads, int kCount>
constexpr int kSumBytes = kThreads / warp::kLanes* kCount* kGroups* static_cast<int>(sizeof(Float4));
template <int kThreads>
constexpr int kMomentBytes = kThreads / warp::kLanes* kGroups * 4 * static_cast<int>(sizeof(Moments));

/// to[i, c] = sum of every thread's sum[i] for its channel c, for c < channels. All threads must come here.
template <int kThreads, int kCount>
ESPALIER_SIMT void reduce_sums(int channels, Float4 (&sum)[kCount], float* to) {
  static_assert(kThreads / kGroups >= kCount);
  constexpr int kWarps = kThreads / warp::kLanes;
  ESPALIER_UNROLL
  for (int i = 0; i < kCount; ++i) {
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      ESPALIER_UNROLL
      for (int mask = kGroups; mask < warp::kLanes; mask *= 2)
        sum[i].v[k] += warp::shuffle_xor(sum[i].v[k], mask);
    }
  }
  Float4* partial = reinterpret_cast<Float4*>(warp::shared());
  const int group = warp::thread() % kGroups;
  if (warp::thread() % warp::kLanes < kGroups) {
    ESPALIER_UNROLL
    for (int i = 0; i < kCount; ++i)
      partial[(warp::thread() / warp::kLanes * kCount + i) * kGroups + group] = sum[i];
  }
  warp::barrier();
  const int which = warp::thread() / kGroups, c = (warp::block().x * kGroups + group) * 4;
  if (which >= kCount || c >= channels) return;
  Float4 total = {};
  for (int i = 0; i < kWarps; ++i) {
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) total.v[k] += partial[(i * kCount + which) * kGroups + group].v[k];
  }
  warp::store4(to + which * channels + c, total);
}

/// to[0, c], to[1, c], to[2, c] = count, mean and squares of all threads' `own`. All threads must come here.
template <int kThreads>
ESPALIER_SIMT void reduce_moments(int channels, Moments (&own)[4], float* to) {
  constexpr int kWarps = kThreads / warp::kLanes;
  ESPALIER_UNROLL
  for (int k = 0; k < 4; ++k) {
    ESPALIER_UNROLL
    for (int mask = kGroups; mask < warp::kLanes; mask *= 2) {
      const Moments other = {warp::shuffle_xor(own[k].count, mask), warp::shuffle_xor(own[k].mean, mask),
                             warp::shuffle_xor(own[k].squares, mask)};
      own[k] = Moments::merge(own[k], other);
    }
  }
  Moments* partial = reinterpret_cast<Moments*>(warp::shared());
  const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
  if (lane < kGroups) {
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) partial[(number * kGroups + lane) * 4 + k] = own[k];
  }
  warp::barrier();
  const int channel = warp::block().x * kGroups * 4 + warp::thread();
  if (warp::thread() >= kGroups * 4 || channel >= channels) return;
  Moments total = partial[warp::thread()];
  for (int i = 1; i < kWarps; ++i) total = Moments::merge(total, partial[i * kGroups * 4 + warp::thread()]);
  to[channel] = total.count;
  to[channels + channel] = total.mean;
  to[2 * channels + channel] = total.squares;
}

/// Merges parts [count, 3, channels] in order, kAtMost of them per block.z; the last stage has one block.z
/// and gives the mean and the biased variance. The means may be distances from `origin`. A block takes eight
/// channels, and 32 of its threads share one.
template <class T = float>
struct MergeMoments {
  static constexpr int kThreads = 256, kBlocks = 4, kChannels = 8;
  static constexpr int kSlices = kThreads / kChannels, kEach = 16, kAtMost = kSlices * kEach;
  static constexpr int kSharedBytes = kThreads * static_cast<int>(sizeof(Moments));

  int channels, count;
  const T* origin;  ///< of the means, or null
  const float* in;
  float *mean, *variance;
  float* merged;  ///< [parts of this stage, 3, channels], null in the last stage

  ESPALIER_SIMT void operator()() const {
    const int lane = warp::thread() % kChannels, slice = warp::thread() / kChannels;
    const int c = warp::block().x * kChannels + lane;
    const int first = warp::block().z * kAtMost, end = first + kAtMost < count ? first + kAtMost : count;
    Moments* partial = reinterpret_cast<Moments*>(warp::shared());
    Moments own = {};
    if (c < channels)
      for (int part = first + slice; part < end; part += 4 * kSlices) {
        // Four at a time, so that their loads wait together.
        Moments some[4] = {};
        ESPALIER_UNROLL
        for (int i = 0; i < 4; ++i) {
          const float* from = in + int64_t{part + i * kSlices} * 3 * channels + c;
          if (part + i * kSlices < end) some[i] = {from[0], from[channels], from[2 * channels]};
        }
        own = Moments::merge(
            own, Moments::merge(Moments::merge(some[0], some[1]), Moments::merge(some[2], some[3])));
      }
    partial[warp::thread()] = own;
    ESPALIER_UNROLL
    for (int half = kSlices / 2; half > 0; half /= 2) {
      warp::barrier();
      if (slice < half)
        partial[warp::thread()] =
            Moments::merge(partial[warp::thread()], partial[warp::thread() + half * kChannels]);
    }
    if (slice || c >= channels) return;
    own = partial[lane];
    if (merged) {
      float* to = merged + int64_t{warp::block().z} * 3 * channels + c;
      to[0] = own.count;
      to[channels] = own.mean;
      to[2 * channels] = own.squares;
    } else {
      mean[c] = origin ? float(origin[c]) + own.mean : own.mean;
      variance[c] = own.squares / own.count;
    }
  }
};

/// Floats that merge_moments() needs for `count` parts: the parts themselves, and those of its stages.
inline int64_t moment_floats(int64_t count, int channels) {
  int64_t parts = count;
  for (int64_t left = count; left > MergeMoments<>::kAtMost;)
    parts += left = (left + MergeMoments<>::kAtMost - 1) / MergeMoments<>::kAtMost;
  return parts * 3 * channels;
}

/// mean and biased variance from `count` parts at the start of memory of moment_floats(); `origin` as in
/// MergeMoments.
template <class Machine, class T>
void merge_moments(Machine& machine, int count, int channels, const T* origin, float* parts, float* mean,
                   float* variance) {
  constexpr int kAtMost = MergeMoments<T>::kAtMost;
  const int64_t blocks = (channels + MergeMoments<T>::kChannels - 1) / MergeMoments<T>::kChannels;
  while (count > kAtMost) {
    const int left = (count + kAtMost - 1) / kAtMost;
    float* merged = parts + int64_t{count} * 3 * channels;
    machine.launch(MergeMoments<T>{channels, count, nullptr, parts, nullptr, nullptr, merged}, blocks, left);
    parts = merged;
    count = left;
  }
  machine.launch(MergeMoments<T>{channels, count, origin, parts, mean, variance, nullptr}, blocks, 1);
}

}  // namespace espalier::kernels::channels
