#include "kernels/quantized_prepared.h"
#include "kernels/quantized_vnni.h"

namespace espalier::kernels {

#ifdef ESPALIER_VNNI

using vnni::kBytes;
using vnni::kLanes;

namespace {

/// part(at, count) for own pieces of at most 64 of n elements.
template <class Part>
void for_own_pieces(int64_t n, const Team& team, const Part& part) {
  const int64_t pieces = (n + kBytes - 1) / kBytes, last = pieces * (team.thread + 1) / team.threads;
  for (int64_t p = pieces * team.thread / team.threads; p < last; ++p)
    part(p * kBytes, static_cast<int>(std::min<int64_t>(kBytes, n - p * kBytes)));
}

}  // namespace

bool has_quantized_prepared() { return true; }

void quantize_prepared(int64_t n, const float* x, float inverse_scale, int low, int high, void* y,
                       const Team& team) {
  const vnni::Rounding rounding(low, high);
  const __m512 factor = _mm512_set1_ps(inverse_scale);
  for_own_pieces(n, team, [&](int64_t at, int count) {
    __m512 f[4];
    for (int i = 0; i < 4; ++i)
      f[i] = _mm512_mul_ps(_mm512_maskz_loadu_ps(vnni::first_lanes(count - i * kLanes), x + at + i * kLanes),
                           factor);
    rounding.store<4>(f, static_cast<char*>(y) + at, count);
  });
}

void dequantize_prepared(int64_t n, Code x_code, const void* x, float scale, float* y, const Team& team) {
  const __m512 factor = _mm512_set1_ps(scale);
  for_own_pieces(n, team, [&](int64_t at, int count) {
    for (int i = 0; i < 4; ++i) {
      const __mmask16 mask = vnni::first_lanes(count - i * kLanes);
      _mm512_mask_storeu_ps(y + at + i * kLanes, mask,
                            _mm512_mul_ps(vnni::load_codes(x, x_code, at + i * kLanes, mask), factor));
    }
  });
}

void quantized_add_prepared(int64_t n, Code a_code, const void* a, float a_factor, Code b_code, const void* b,
                            float b_factor, int low, int high, void* y, const Team& team) {
  const vnni::Rounding rounding(low, high);
  const __m512 a_times = _mm512_set1_ps(a_factor), b_times = _mm512_set1_ps(b_factor);
  for_own_pieces(n, team, [&](int64_t at, int count) {
    __m512 f[4];
    for (int i = 0; i < 4; ++i) {
      const __mmask16 mask = vnni::first_lanes(count - i * kLanes);
      f[i] = _mm512_fmadd_ps(vnni::load_codes(b, b_code, at + i * kLanes, mask), b_times,
                             _mm512_mul_ps(vnni::load_codes(a, a_code, at + i * kLanes, mask), a_times));
    }
    rounding.store<4>(f, static_cast<char*>(y) + at, count);
  });
}

void quantized_global_avg_pool_prepared(int N, int pixels, int C, Code code, const void* x, void* y,
                                        const Team& team) {
  const int pieces = (C + kLanes - 1) / kLanes;
  const Share share(N * pieces, team.thread, team.threads);
  const __m512 divisor = _mm512_set1_ps(static_cast<float>(pixels));
  for (int i = share.first; i < share.last; ++i) {
    const int image = i / pieces, c = i % pieces * kLanes;
    const __mmask16 mask = vnni::first_lanes(C - c);
    __m512i sum = _mm512_setzero_si512();
    for (int p = 0; p < pixels; ++p) {
      const __m128i bytes =
          _mm_maskz_loadu_epi8(mask, static_cast<const char*>(x) + (int64_t{image} * pixels + p) * C + c);
      sum = _mm512_add_epi32(sum,
                             code == Code::kU8 ? _mm512_cvtepu8_epi32(bytes) : _mm512_cvtepi8_epi32(bytes));
    }
    const __m512i mean = _mm512_cvtps_epi32(_mm512_div_ps(_mm512_cvtepi32_ps(sum), divisor));
    _mm_mask_storeu_epi8(static_cast<char*>(y) + int64_t{image} * C + c, mask, _mm512_cvtepi32_epi8(mean));
  }
}

#else

bool has_quantized_prepared() { return false; }

void quantize_prepared(int64_t, const float*, float, int, int, void*, const Team&) {}
void dequantize_prepared(int64_t, Code, const void*, float, float*, const Team&) {}
void quantized_add_prepared(int64_t, Code, const void*, float, Code, const void*, float, int, int, void*,
                            const Team&) {}
void quantized_global_avg_pool_prepared(int, int, int, Code, const void*, void*, const Team&) {}

#endif

}  // namespace espalier::kernels
