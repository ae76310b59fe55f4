#include "kernels/quantized_prepared.h"
#include "kernels/quantized_vectors.h"

namespace espalier::kernels {

#ifdef ESPALIER_INT8_VECTORS

using int8::Floats;
using int8::kLanes;
using int8::kPack;
using int8::kStep;
using int8::Sums;

namespace {

/// part(at, count) for own pieces of at most kStep of n elements.
template <class Part>
void for_own_pieces(int64_t n, const Team& team, const Part& part) {
  const int64_t pieces = (n + kStep - 1) / kStep, last = pieces * (team.thread + 1) / team.threads;
  for (int64_t p = pieces * team.thread / team.threads; p < last; ++p)
    part(p * kStep, static_cast<int>(std::min<int64_t>(kStep, n - p * kStep)));
}

}  // namespace

bool has_quantized_prepared() { return true; }

void quantize_prepared(int64_t n, const float* x, float inverse_scale, int low, int high, void* y,
                       const Team& team) {
  const int8::Rounding rounding(low, high);
  const Floats factor = int8::broadcast(inverse_scale);
  for_own_pieces(n, team, [&](int64_t at, int count) {
    Floats f[kPack];
    for (int i = 0; i < kPack; ++i)
      f[i] = int8::multiply(int8::load_floats(x + at + i * kLanes, count - i * kLanes), factor);
    rounding.store<kPack>(f, static_cast<char*>(y) + at, count);
  });
}

void dequantize_prepared(int64_t n, Code x_code, const void* x, float scale, float* y, const Team& team) {
  const Floats factor = int8::broadcast(scale);
  for_own_pieces(n, team, [&](int64_t at, int count) {
    for (int i = 0; i < kPack; ++i) {
      const int left = count - i * kLanes;
      const Sums codes = int8::load_codes(static_cast<const char*>(x) + at + i * kLanes, x_code, left);
      int8::store_floats(y + at + i * kLanes, int8::multiply(int8::to_floats(codes), factor), left);
    }
  });
}

void quantized_add_prepared(int64_t n, Code a_code, const void* a, float a_factor, Code b_code, const void* b,
                            float b_factor, int low, int high, void* y, const Team& team) {
  const int8::Rounding rounding(low, high);
  const Floats a_times = int8::broadcast(a_factor), b_times = int8::broadcast(b_factor);
  for_own_pieces(n, team, [&](int64_t at, int count) {
    Floats f[kPack];
    for (int i = 0; i < kPack; ++i) {
      const auto codes = [&](const void* p, Code code) {
        return int8::to_floats(
            int8::load_codes(static_cast<const char*>(p) + at + i * kLanes, code, count - i * kLanes));
      };
      f[i] = int8::fused(codes(b, b_code), b_times, int8::multiply(codes(a, a_code), a_times));
    }
    rounding.store<kPack>(f, static_cast<char*>(y) + at, count);
  });
}

void quantized_global_avg_pool_prepared(int N, int pixels, int C, Code code, const void* x, void* y,
                                        const Team& team) {
  const int pieces = (C + kLanes - 1) / kLanes;
  const Share share(N * pieces, team.thread, team.threads);
  const Floats divisor = int8::broadcast(static_cast<float>(pixels));
  for (int i = share.first; i < share.last; ++i) {
    const int image = i / pieces, c = i % pieces * kLanes, count = std::min(kLanes, C - c);
    Sums sum[kPack] = {};
    for (int p = 0; p < pixels; ++p)
      sum[0] = int8::add(
          sum[0],
          int8::load_codes(static_cast<const char*>(x) + (int64_t{image} * pixels + p) * C + c, code, count));
    sum[0] = int8::to_sums(int8::divide(int8::to_floats(sum[0]), divisor));
    int8::store_codes(static_cast<char*>(y) + int64_t{image} * C + c, sum, count);
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
