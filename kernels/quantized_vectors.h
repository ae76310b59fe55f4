#pragma once
// Pieces of the INT8 kernels for CPUs with vectors, written once in words that quantized_avx512.h and
// quantized_avx2.h say for theirs. Only kernels/quantized_*_prepared.cpp include this.

#include "kernels/quantized_target.h"

#if defined(ESPALIER_INT8_VNNI) || defined(ESPALIER_INT8_AVX2)
#define ESPALIER_INT8_VECTORS 1

#ifdef ESPALIER_INT8_VNNI
#include "kernels/quantized_avx512.h"
#else
#include "kernels/quantized_avx2.h"
#endif

namespace espalier::kernels::int8 {

/// Rounds up to kStep floats, natural order, to codes.
struct Rounding {
  Floats low, high;
  Rounding(int low, int high)
      : low(broadcast(static_cast<float>(low))), high(broadcast(static_cast<float>(high))) {}

  /// Clamps first, so that no conversion overflows and NaN becomes the lower limit.
  Sums round(Floats f) const { return to_sums(min(max(f, low), high)); }

  template <int kVectors>
  void store(const Floats* f, void* to, int count) const {
    Sums v[kPack];
    for (int i = 0; i < kPack; ++i) v[i] = i < kVectors ? round(f[i]) : zero();
    store_codes(to, v, count);
  }
};

/// What happens to sums: quantized_conv2d.h's epilogue with everything that stays the same for a call
/// unpacked once.
class Finish {
 public:
  /// `largest` bounds |sum * multiplier| over all sums there can be.
  Finish(const Requantize& r, double largest, Code y_code, void* y)
      : rounding_(r.low, r.high),
        slope_(broadcast(r.slope)),
        residual_factor_(broadcast(r.residual_factor)),
        limits_(r.low, r.high),
        residual_(static_cast<const char*>(r.residual)),
        residual_code_(r.residual_code),
        y_code_(y_code),
        leaky_(r.slope != 1),
        // Packing saturates, so the limits can wait until there are words, if the conversion cannot overflow.
        plain_(r.slope == 1 && !r.residual && y_code != Code::kF32 && largest < (1 << 30)),
        y_(static_cast<char*>(y)) {}

  bool plain() const { return plain_; }

  /// Stores `count` results that begin at element `at` of y; count <= kLanes kVectors. Needs plain().
  template <int kVectors, Order kOrder>
  void store_plain(const Sums* sum, const float* multiplier, int64_t at, int count) const {
    Sums v[kPack];
    for (int i = 0; i < kPack; ++i)
      v[i] =
          i < kVectors ? to_sums(multiply(to_floats(sum[i]), load_floats(multiplier + i * kLanes))) : zero();
    limits_.store<kVectors, kOrder>(y_ + at, v, count);
  }

  template <int kVectors, Order kOrder>
  void store(const Sums* sum, const float* multiplier, int64_t at, int count) const {
    Floats f[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      f[i] = multiply(to_floats(sum[i]), load_floats(multiplier + i * kLanes));
      if (leaky_) f[i] = leaky(f[i], slope_);
    }
    if constexpr (kOrder == Order::kInterleaved) make_natural(f);
    if (residual_)
      for (int i = 0; i < kVectors; ++i)
        f[i] = fused(to_floats(load_codes(residual_ + at + i * kLanes, residual_code_, count - i * kLanes)),
                     residual_factor_, f[i]);
    if (y_code_ == Code::kF32)
      for (int i = 0; i < kVectors; ++i)
        store_floats(reinterpret_cast<float*>(y_) + at + i * kLanes, f[i], count - i * kLanes);
    else
      rounding_.store<kVectors>(f, y_ + at, count);
  }

 private:
  Rounding rounding_;
  Floats slope_, residual_factor_;
  Limits limits_;
  const char* residual_;
  Code residual_code_, y_code_;
  bool leaky_, plain_;
  char* y_;
};

}  // namespace espalier::kernels::int8

#endif
