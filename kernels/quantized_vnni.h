#pragma once
// Pieces of the INT8 kernels for CPUs with AVX-512 VNNI. Only kernels/quantized_*_prepared.cpp include this.

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define ESPALIER_VNNI 1

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/quantized_conv2d.h"

namespace espalier::kernels::vnni {

constexpr int kLanes = 16;  ///< 32-bit sums a vector
constexpr int kBytes = 64;  ///< codes a vector

inline __mmask64 first_bytes(int n) { return n >= kBytes ? ~__mmask64{0} : (__mmask64{1} << n) - 1; }
inline __mmask16 first_lanes(int n) {
  return n >= kLanes ? __mmask16(0xFFFF) : static_cast<__mmask16>((1u << std::max(n, 0)) - 1);
}

/// How the 64 results of four vectors of sums lie in them.
enum class Order {
  kNatural,      ///< vector v, lane i is result 16 v + i
  kInterleaved,  ///< vector v, lane i is result 16 (i / 4) + 4 v + i % 4: what unpacking bytes twice gives
};

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

/// Sixteen codes as floats.
inline __m512 load_codes(const void* p, Code code, int64_t at, __mmask16 mask) {
  const __m128i bytes = _mm_maskz_loadu_epi8(mask, static_cast<const char*>(p) + at);
  return _mm512_cvtepi32_ps(code == Code::kU8 ? _mm512_cvtepu8_epi32(bytes) : _mm512_cvtepi8_epi32(bytes));
}

/// Rounds up to 64 floats, natural order, to codes.
struct Rounding {
  __m512 low, high;
  Rounding(int low, int high)
      : low(_mm512_set1_ps(static_cast<float>(low))), high(_mm512_set1_ps(static_cast<float>(high))) {}

  /// Clamps first, so that no conversion overflows and NaN becomes the lower limit.
  __m512i round(__m512 f) const { return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(f, low), high)); }

  template <int kVectors>
  void store(const __m512* f, void* to, int count) const {
    __m512i v[4];
    for (int i = 0; i < 4; ++i) v[i] = i < kVectors ? round(f[i]) : _mm512_setzero_si512();
    store_bytes(to, narrow<Order::kNatural>(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3])),
                count);
  }
};

/// What happens to sums: quantized_conv2d.h's epilogue with everything that stays the same for a call
/// unpacked once.
class Finish {
 public:
  /// `largest` bounds |sum * multiplier| over all sums there can be.
  Finish(const Requantize& r, double largest, Code y_code, void* y)
      : rounding_(r.low, r.high),
        slope_(_mm512_set1_ps(r.slope)),
        residual_factor_(_mm512_set1_ps(r.residual_factor)),
        low_(_mm512_set1_epi16(static_cast<int16_t>(r.low))),
        high_(_mm512_set1_epi16(static_cast<int16_t>(r.high))),
        residual_(r.residual),
        residual_code_(r.residual_code),
        y_code_(y_code),
        leaky_(r.slope != 1),
        // Packing saturates, so the limits can wait until there are words, if the conversion cannot overflow.
        plain_(r.slope == 1 && !r.residual && y_code != Code::kF32 && largest < (1 << 30)),
        y_(static_cast<char*>(y)) {}

  bool plain() const { return plain_; }

  /// Stores `count` results that begin at element `at` of y; count <= 16 kVectors. Needs plain().
  template <int kVectors, Order kOrder>
  void store_plain(const __m512i* sum, const float* multiplier, int64_t at, int count) const {
    __m512i v[4];
    for (int i = 0; i < 4; ++i)
      v[i] = i < kVectors ? _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum[i]),
                                                             _mm512_loadu_ps(multiplier + i * kLanes)))
                          : _mm512_setzero_si512();
    const __m512i ab = limit(_mm512_packs_epi32(v[0], v[1])),
                  cd = kVectors > 2 ? limit(_mm512_packs_epi32(v[2], v[3])) : _mm512_setzero_si512();
    store_bytes(y_ + at, narrow<kOrder>(ab, cd), count);
  }

  template <int kVectors, Order kOrder>
  void store(const __m512i* sum, const float* multiplier, int64_t at, int count) const {
    __m512 f[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      f[i] = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[i]), _mm512_loadu_ps(multiplier + i * kLanes));
      if (leaky_)
        f[i] = _mm512_mask_mul_ps(f[i], _mm512_cmp_ps_mask(f[i], _mm512_setzero_ps(), _CMP_NGT_UQ), f[i],
                                  slope_);
    }
    if constexpr (kOrder == Order::kInterleaved) make_natural(f);
    if (residual_)
      for (int i = 0; i < kVectors; ++i)
        f[i] = _mm512_fmadd_ps(
            load_codes(residual_, residual_code_, at + i * kLanes, first_lanes(count - i * kLanes)),
            residual_factor_, f[i]);
    if (y_code_ == Code::kF32)
      for (int i = 0; i < kVectors; ++i)
        _mm512_mask_storeu_ps(reinterpret_cast<float*>(y_) + at + i * kLanes, first_lanes(count - i * kLanes),
                              f[i]);
    else
      rounding_.store<kVectors>(f, y_ + at, count);
  }

 private:
  __m512i limit(__m512i words) const { return _mm512_min_epi16(_mm512_max_epi16(words, low_), high_); }

  static void make_natural(__m512* f) {
    alignas(64) float in[4][kLanes], out[4][kLanes];
    for (int v = 0; v < 4; ++v) _mm512_store_ps(in[v], f[v]);
    for (int v = 0; v < 4; ++v)
      for (int i = 0; i < 4; ++i) std::memcpy(out[i] + 4 * v, in[v] + 4 * i, 16);
    for (int v = 0; v < 4; ++v) f[v] = _mm512_load_ps(out[v]);
  }

  Rounding rounding_;
  __m512 slope_, residual_factor_;
  __m512i low_, high_;  // words
  const void* residual_;
  Code residual_code_, y_code_;
  bool leaky_, plain_;
  char* y_;
};

/// Copies codes for VNNI, which multiplies u8 by s8: s8 codes get 128 added.
inline void copy_codes(uint8_t* to, const uint8_t* from, int64_t count, bool is_signed) {
  if (!is_signed) {
    std::memcpy(to, from, static_cast<size_t>(count));
    return;
  }
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
  int64_t i = 0;
  for (; i + kBytes <= count; i += kBytes)
    _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(from + i), offset));
  const __mmask64 rest = first_bytes(static_cast<int>(count - i));
  _mm512_mask_storeu_epi8(to + i, rest, _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, from + i), offset));
}

}  // namespace espalier::kernels::vnni

#endif
