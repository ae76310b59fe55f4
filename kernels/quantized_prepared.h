#pragma once
// INT8 kernels for inference on CPUs with AVX-512 VNNI, filters packed once, any number of threads;
// bit-identical to the shared bodies of quantized_conv2d.h and quantized_elementwise.h.

#include <cstdint>
#include <vector>

#include "kernels/quantized_conv2d.h"
#include "kernels/team.h"

namespace espalier::kernels {

/// False where the program was built for a CPU without VNNI; then only the shared bodies run.
bool has_quantized_prepared();

/// Filters w [K,R,S,C] as [ceil(K / 16)][groups][16][4], a group being four neighbouring inputs of one sum;
/// and per output channel the bias and multiplier, filled up with zeros. VNNI multiplies u8 by s8, so s8
/// activations enter with 128 added and the bias takes 128 * (sum of the filter) away again: still exact.
class PackedCodes {
 public:
  PackedCodes(const ConvShape& shape, Code x_code, const int8_t* w, const int32_t* bias,
              const float* multiplier);

  int blocks() const { return blocks_; }
  /// A group never straddles two places of the filter; where C is no multiple of four the whole window is
  /// copied together first and counts as one place.
  bool gathers() const { return gathers_; }
  int places() const { return places_; }
  int groups() const { return groups_; }  ///< per place
  const int8_t* block(int b) const { return codes_.data() + static_cast<size_t>(b) * places_ * groups_ * 64; }
  const int32_t* bias(int b) const { return bias_.data() + b * 16; }
  const float* multiplier(int b) const { return multiplier_.data() + b * 16; }
  const uint8_t* zeros() const { return zeros_.data(); }  ///< a pixel outside the image
  int64_t bytes() const { return static_cast<int64_t>(codes_.size() + 8 * bias_.size() + zeros_.size()); }

 private:
  int blocks_, places_, groups_;
  bool gathers_;
  std::vector<int8_t> codes_;
  std::vector<int32_t> bias_;
  std::vector<float> multiplier_;
  std::vector<uint8_t> zeros_;
};

/// quantized_conv2d() on packed filters; r.bias and r.multiplier are not read. Called by every thread of the
/// team.
void quantized_conv2d_prepared(const ConvShape& shape, Code x_code, const PackedCodes& w, const Requantize& r,
                               Code y_code, const void* x, void* y, const Team& team);

/// Depthwise filters w [R,S,C] as 32-bit lanes, channels filled up to whole vectors.
class PaddedCodes {
 public:
  PaddedCodes(const ConvShape& shape, const int8_t* w, const int32_t* bias, const float* multiplier);

  int channels() const { return channels_; }
  const int32_t* filter() const { return codes_.data(); }
  const int32_t* bias() const { return bias_.data(); }
  const float* multiplier() const { return multiplier_.data(); }
  int64_t bytes() const { return static_cast<int64_t>(4 * codes_.size() + 8 * bias_.size()); }

 private:
  int channels_;
  std::vector<int32_t> codes_, bias_;
  std::vector<float> multiplier_;
};

/// quantized_depthwise() on padded filters; r.bias and r.multiplier are not read.
void quantized_depthwise_prepared(const ConvShape& shape, Code x_code, const PaddedCodes& w,
                                  const Requantize& r, Code y_code, const void* x, void* y, const Team& team);

/// quantize() and quantized_global_avg_pool() by a team.
void quantize_prepared(int64_t n, const float* x, float inverse_scale, int low, int high, Code y_code,
                       void* y, const Team& team);
void quantized_global_avg_pool_prepared(int N, int pixels, int C, Code code, const void* x, void* y,
                                        const Team& team);

}  // namespace espalier::kernels
