#pragma once
// One vector of floats, as wide as the target's registers, for hand-written CPU kernels: AVX-512, AVX2, or
// whatever the compiler makes of four lanes. Sums of products are fused everywhere the target can, so results
// of one build do not depend on the tile that computes them.

#include <cstring>

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace espalier::kernels::simd {

#if defined(__AVX512F__)

using Vector = __m512;
constexpr int kLanes = 16, kRegisters = 32;

inline __mmask16 mask(int n) { return static_cast<__mmask16>((1u << n) - 1); }
inline Vector zero() { return _mm512_setzero_ps(); }
inline Vector broadcast(float v) { return _mm512_set1_ps(v); }
inline Vector load(const float* p) { return _mm512_loadu_ps(p); }
inline Vector load(const float* p, int n) { return _mm512_maskz_loadu_ps(mask(n), p); }
inline void store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
inline void store(float* p, Vector v, int n) { _mm512_mask_storeu_ps(p, mask(n), v); }
inline Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
inline Vector subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
inline Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
inline Vector max(Vector a, Vector b) { return _mm512_max_ps(a, b); }
inline Vector min(Vector a, Vector b) { return _mm512_min_ps(a, b); }
/// a > b ? yes : no
inline Vector if_greater(Vector a, Vector b, Vector yes, Vector no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes);
}

#elif defined(__AVX2__) && defined(__FMA__)

using Vector = __m256;
constexpr int kLanes = 8, kRegisters = 16;

inline __m256i mask(int n) {
  alignas(32) static constexpr int kOnes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOnes + 8 - n));
}
inline Vector zero() { return _mm256_setzero_ps(); }
inline Vector broadcast(float v) { return _mm256_set1_ps(v); }
inline Vector load(const float* p) { return _mm256_loadu_ps(p); }
inline Vector load(const float* p, int n) { return _mm256_maskload_ps(p, mask(n)); }
inline void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
inline void store(float* p, Vector v, int n) { _mm256_maskstore_ps(p, mask(n), v); }
inline Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
inline Vector subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
inline Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
inline Vector max(Vector a, Vector b) { return _mm256_max_ps(a, b); }
inline Vector min(Vector a, Vector b) { return _mm256_min_ps(a, b); }
inline Vector if_greater(Vector a, Vector b, Vector yes, Vector no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

#else

using Vector = float __attribute__((vector_size(16)));
constexpr int kLanes = 4;
#if defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

inline Vector zero() { return Vector{}; }
inline Vector broadcast(float v) { return Vector{v, v, v, v}; }
inline Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vector load(const float* p, int n) {
  Vector v{};
  std::memcpy(&v, p, static_cast<size_t>(n) * sizeof(float));
  return v;
}
inline void store(float* p, Vector v) { std::memcpy(p, &v, sizeof v); }
inline void store(float* p, Vector v, int n) { std::memcpy(p, &v, static_cast<size_t>(n) * sizeof(float)); }
inline Vector fma(Vector a, Vector b, Vector c) {
#if defined(__ARM_FEATURE_FMA) && defined(__ARM_NEON)
  return reinterpret_cast<Vector>(vfmaq_f32(
      reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a), reinterpret_cast<float32x4_t>(b)));
#else
  return a * b + c;
#endif
}
inline Vector add(Vector a, Vector b) { return a + b; }
inline Vector subtract(Vector a, Vector b) { return a - b; }
inline Vector multiply(Vector a, Vector b) { return a * b; }
inline Vector max(Vector a, Vector b) { return a > b ? a : b; }
inline Vector min(Vector a, Vector b) { return a < b ? a : b; }
inline Vector if_greater(Vector a, Vector b, Vector yes, Vector no) { return a > b ? yes : no; }

#endif

/// Of the n channels that are left, those of one vector; the lanes beyond are 0.
inline Vector load_part(const float* p, int n) { return n >= kLanes ? load(p) : load(p, n); }
inline void store_part(float* p, Vector v, int n) { n >= kLanes ? store(p, v) : store(p, v, n); }

/// Keeps a loaded value in a register: g++ would rather load it again with every sum it goes into.
inline void hold(Vector& v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#else
  (void)v;
#endif
}

template <class T>
inline void hold(T*& p) {
  asm("" : "+r"(p));
}

}  // namespace espalier::kernels::simd
