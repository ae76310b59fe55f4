#pragma once
// Channels of a pixel, four at a time as floats, with one access where 16 bytes hold all that a thread takes:
// two accesses of 8 bytes would each leave half of every sector to the other.

#include "kernels/warp.h"

namespace espalier::kernels {

/// kCount channels as they lie in memory; the address must be a multiple of their bytes, or of 16.
template <class T, int kCount>
struct StoredChannels {
  warp::Stored4<T> fours[kCount / 4];

  ESPALIER_SIMT static StoredChannels load(const T* p) {
    StoredChannels all;
    ESPALIER_UNROLL
    for (int i = 0; i < kCount / 4; ++i) all.fours[i] = warp::load_stored(p + 4 * i);
    return all;
  }
  ESPALIER_SIMT warp::Float4 four(int i) const { return warp::unpacked(fours[i]); }
  ESPALIER_SIMT static void store(T* p, const warp::Float4 (&v)[kCount / 4]) {
    ESPALIER_UNROLL
    for (int i = 0; i < kCount / 4; ++i) warp::store4(p + 4 * i, v[i]);
  }
};

template <>
struct StoredChannels<Bf16, 8> {
  warp::Word4 words;

  ESPALIER_SIMT static StoredChannels load(const Bf16* p) {
    return {warp::load4(reinterpret_cast<const uint32_t*>(p))};
  }
  ESPALIER_SIMT warp::Float4 four(int i) const {
    return warp::unpacked(warp::Word2{{words.v[2 * i], words.v[2 * i + 1]}});
  }
  ESPALIER_SIMT static void store(Bf16* p, const warp::Float4 (&v)[2]) {
    warp::store4(
        reinterpret_cast<uint32_t*>(p),
        warp::Word4{{warp::to_bf16_pair(v[0].v[0], v[0].v[1]), warp::to_bf16_pair(v[0].v[2], v[0].v[3]),
                     warp::to_bf16_pair(v[1].v[0], v[1].v[1]), warp::to_bf16_pair(v[1].v[2], v[1].v[3])}});
  }
};

}  // namespace espalier::kernels
