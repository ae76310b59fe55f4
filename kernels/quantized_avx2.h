#pragma once
// The words of quantized_vectors.h for AVX2; quantized_avx512.h says what each does.

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/quantized_conv2d.h"
#include "kernels/quantized_target.h"
#include "kernels/simd.h"

namespace espalier::kernels::int8 {

using Sums = __m256i;
using Floats = __m256;
using Inputs = __m256i;

inline Sums zero() { return _mm256_setzero_si256(); }
inline Sums load_sums(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void hold(Sums& v) { asm("" : "+x"(v)); }
inline void store_sums(int32_t* p, Sums v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
inline Sums add(Sums a, Sums b) { return _mm256_add_epi32(a, b); }
inline Sums rotate(Sums v, int by) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_permutevar8x32_epi32(v, _mm256_add_epi32(lane, _mm256_set1_epi32(by)));
}

inline Sums load_filter(const Filter* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline Inputs load_inputs(const Input* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline Inputs broadcast_group(const Input* p) {
  int32_t two;
  std::memcpy(&two, p, 4);
  return _mm256_set1_epi32(two);
}
inline Sums dot(Sums sum, Inputs inputs, Sums filter) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(inputs, filter));
}

inline void interleave(const Inputs* tap, Inputs* out) {
  out[0] = _mm256_unpacklo_epi16(tap[0], tap[1]);
  out[1] = _mm256_unpackhi_epi16(tap[0], tap[1]);
}

inline void copy_codes(Input* to, const uint8_t* from, int64_t count, bool is_signed) {
  int64_t i = 0;
  const auto widen = [&](auto words_of) {
    for (; i + kStep <= count; i += kStep)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i),
                          words_of(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  };
  if (is_signed)
    widen([](__m128i bytes) { return _mm256_cvtepi8_epi16(bytes); });
  else
    widen([](__m128i bytes) { return _mm256_cvtepu8_epi16(bytes); });
  for (; i < count; ++i) to[i] = is_signed ? static_cast<int8_t>(from[i]) : from[i];
}

inline int within_lanes(int count) { return std::clamp(count, 0, kLanes); }

inline Floats broadcast(float f) { return _mm256_set1_ps(f); }
inline Floats load_floats(const float* p) { return _mm256_loadu_ps(p); }
inline Floats load_floats(const float* p, int count) { return simd::load(p, within_lanes(count)); }
inline void store_floats(float* p, Floats f, int count) { simd::store(p, f, within_lanes(count)); }
inline Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
inline Floats fused(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline Floats leaky(Floats f, Floats slope) {
  return _mm256_blendv_ps(_mm256_mul_ps(f, slope), f, _mm256_cmp_ps(f, _mm256_setzero_ps(), _CMP_GT_OQ));
}
inline Floats to_floats(Sums v) { return _mm256_cvtepi32_ps(v); }
inline Sums to_sums(Floats f) { return _mm256_cvtps_epi32(f); }

inline Sums load_codes(const void* p, Code code, int count) {
  __m128i bytes;
  if (count >= kLanes) {
    bytes = _mm_loadl_epi64(static_cast<const __m128i*>(p));
  } else {
    alignas(16) char part[16] = {};
    std::memcpy(part, p, static_cast<size_t>(std::max(count, 0)));
    bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(part));
  }
  return code == Code::kU8 ? _mm256_cvtepu8_epi32(bytes) : _mm256_cvtepi8_epi32(bytes);
}

/// The low bytes of 16 words, packed by _mm256_packs_epi32 from vectors of the given order.
template <Order kOrder>
inline __m128i narrow(__m256i words) {
  const __m256i codes = _mm256_and_si256(words, _mm256_set1_epi16(0x00FF));
  const __m256i bytes = _mm256_packus_epi16(codes, codes);  // each half has its 8 bytes twice
  const __m128i first = _mm256_castsi256_si128(bytes), second = _mm256_extracti128_si256(bytes, 1);
  if constexpr (kOrder == Order::kInterleaved) return _mm_unpacklo_epi64(first, second);
  return _mm_unpacklo_epi32(first, second);
}

inline void store_bytes(void* to, __m128i bytes, int count) {
  if (count == 16) return _mm_storeu_si128(static_cast<__m128i*>(to), bytes);
  if (count == 8) return _mm_storel_epi64(static_cast<__m128i*>(to), bytes);
  alignas(16) char all[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
  std::memcpy(to, all, static_cast<size_t>(count));
}

inline void store_codes(void* to, const Sums* v, int count) {
  store_bytes(to, narrow<Order::kNatural>(_mm256_packs_epi32(v[0], v[1])), count);
}

struct Limits {
  __m256i low, high;
  Limits(int low, int high)
      : low(_mm256_set1_epi16(static_cast<int16_t>(low))),
        high(_mm256_set1_epi16(static_cast<int16_t>(high))) {}

  template <int, Order kOrder>
  void store(void* to, const Sums* v, int count) const {
    const __m256i words = _mm256_packs_epi32(v[0], v[1]);
    store_bytes(to, narrow<kOrder>(_mm256_min_epi16(_mm256_max_epi16(words, low), high)), count);
  }
};

inline void make_natural(Floats* f) {
  const Floats first = _mm256_permute2f128_ps(f[0], f[1], 0x20);
  f[1] = _mm256_permute2f128_ps(f[0], f[1], 0x31);
  f[0] = first;
}

}  // namespace espalier::kernels::int8
