#pragma once
// The words of quantized_vectors.h for AVX-512 VNNI.

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/quantized_conv2d.h"
#include "kernels/quantized_target.h"

namespace espalier::kernels::int8 {

using Sums = __m512i;
using Floats = __m512;
using Inputs = __m512i;

inline __mmask64 first_bytes(int n) { return n >= kStep ? ~__mmask64{0} : (__mmask64{1} << n) - 1; }
inline __mmask16 first_lanes(int n) {
  return n >= kLanes ? __mmask16(0xFFFF) : static_cast<__mmask16>((1u << std::max(n, 0)) - 1);
}

inline Sums zero() { return _mm512_setzero_si512(); }
inline Sums load_sums(const int32_t* p) { return _mm512_loadu_si512(p); }
/// Keeps a loaded value in a register: g++ would rather copy what many sums begin with through memory.
inline void hold(Sums& v) { asm("" : "+v"(v)); }
inline void store_sums(int32_t* p, Sums v) { _mm512_storeu_si512(p, v); }
inline Sums add(Sums a, Sums b) { return _mm512_add_epi32(a, b); }
/// Lane i takes lane i + by.
inline Sums rotate(Sums v, int by) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_permutexvar_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(by)), v);
}

inline Sums load_filter(const Filter* p) { return _mm512_loadu_si512(p); }
inline Inputs load_inputs(const Input* p) { return _mm512_loadu_si512(p); }
/// The kGroup codes at p in every lane.
inline Inputs broadcast_group(const Input* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}
/// sum + the products of the groups, exactly.
inline Sums dot(Sums sum, Inputs inputs, Sums filter) { return _mm512_dpbusd_epi32(sum, inputs, filter); }

/// kGroup taps of kStep channels side by side: Order::kInterleaved.
inline void interleave(const Inputs* tap, Inputs* out) {
  const __m512i ab_low = _mm512_unpacklo_epi8(tap[0], tap[1]), ab_high = _mm512_unpackhi_epi8(tap[0], tap[1]),
                cd_low = _mm512_unpacklo_epi8(tap[2], tap[3]), cd_high = _mm512_unpackhi_epi8(tap[2], tap[3]);
  out[0] = _mm512_unpacklo_epi16(ab_low, cd_low);
  out[1] = _mm512_unpackhi_epi16(ab_low, cd_low);
  out[2] = _mm512_unpacklo_epi16(ab_high, cd_high);
  out[3] = _mm512_unpackhi_epi16(ab_high, cd_high);
}

/// Copies codes as inputs.
inline void copy_codes(Input* to, const uint8_t* from, int64_t count, bool is_signed) {
  if (!is_signed) {
    std::memcpy(to, from, static_cast<size_t>(count));
    return;
  }
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep)
    _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(from + i), offset));
  const __mmask64 rest = first_bytes(static_cast<int>(count - i));
  _mm512_mask_storeu_epi8(to + i, rest, _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, from + i), offset));
}

inline Floats broadcast(float f) { return _mm512_set1_ps(f); }
inline Floats load_floats(const float* p) { return _mm512_loadu_ps(p); }
/// The first `count` lanes, zeros behind them; count may be anything.
inline Floats load_floats(const float* p, int count) { return _mm512_maskz_loadu_ps(first_lanes(count), p); }
inline void store_floats(float* p, Floats f, int count) { _mm512_mask_storeu_ps(p, first_lanes(count), f); }
inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats fused(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
/// max(a, b), b where a is NaN.
inline Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
/// f > 0 ? f : slope * f
inline Floats leaky(Floats f, Floats slope) {
  return _mm512_mask_mul_ps(f, _mm512_cmp_ps_mask(f, _mm512_setzero_ps(), _CMP_NGT_UQ), f, slope);
}
inline Floats to_floats(Sums v) { return _mm512_cvtepi32_ps(v); }
/// Half to even.
inline Sums to_sums(Floats f) { return _mm512_cvtps_epi32(f); }

/// The first `count` of kLanes codes.
inline Sums load_codes(const void* p, Code code, int count) {
  const __m128i bytes = _mm_maskz_loadu_epi8(first_lanes(count), p);
  return code == Code::kU8 ? _mm512_cvtepu8_epi32(bytes) : _mm512_cvtepi8_epi32(bytes);
}

/// The low bytes of 2 x 32 words, packed by _mm512_packs_epi32 from vectors of the given order, one after
/// another.
template <Order kOrder>
inline __m512i narrow(__m512i ab, __m512i cd) {
  const __m512i low = _mm512_set1_epi16(0x00FF);
  const __m512i bytes = _mm512_packus_epi16(_mm512_and_si512(ab, low), _mm512_and_si512(cd, low));
  if constexpr (kOrder == Order::kInterleaved) return bytes;
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                                  bytes);
}

inline void store_bytes(void* to, __m512i bytes, int count) {
  switch (count) {
    case 64:
      return _mm512_storeu_si512(to, bytes);
    case 32:
      return _mm256_storeu_si256(static_cast<__m256i*>(to), _mm512_castsi512_si256(bytes));
    case 16:
      return _mm_storeu_si128(static_cast<__m128i*>(to), _mm512_castsi512_si128(bytes));
    default:
      return _mm512_mask_storeu_epi8(to, first_bytes(count), bytes);
  }
}

/// Stores the low bytes of the first `count` results of v[kPack]; zeros in vectors that have none.
inline void store_codes(void* to, const Sums* v, int count) {
  store_bytes(to, narrow<Order::kNatural>(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3])),
              count);
}

/// The limits of a code, in words.
struct Limits {
  __m512i low, high;
  Limits(int low, int high)
      : low(_mm512_set1_epi16(static_cast<int16_t>(low))),
        high(_mm512_set1_epi16(static_cast<int16_t>(high))) {}
  __m512i limit(__m512i words) const { return _mm512_min_epi16(_mm512_max_epi16(words, low), high); }

  /// store_codes() of results of any size, the first kVectors vectors only.
  template <int kVectors, Order kOrder>
  void store(void* to, const Sums* v, int count) const {
    const __m512i ab = limit(_mm512_packs_epi32(v[0], v[1])),
                  cd = kVectors > 2 ? limit(_mm512_packs_epi32(v[2], v[3])) : _mm512_setzero_si512();
    store_bytes(to, narrow<kOrder>(ab, cd), count);
  }
};

/// f[kPack] of Order::kInterleaved in natural order.
inline void make_natural(Floats* f) {
  alignas(64) float in[kPack][kLanes], out[kPack][kLanes];
  for (int v = 0; v < kPack; ++v) _mm512_store_ps(in[v], f[v]);
  for (int v = 0; v < kPack; ++v)
    for (int i = 0; i < 4; ++i) std::memcpy(out[i] + 4 * v, in[v] + 4 * i, 16);
  for (int v = 0; v < kPack; ++v) f[v] = _mm512_load_ps(out[v]);
}

}  // namespace espalier::kernels::int8
