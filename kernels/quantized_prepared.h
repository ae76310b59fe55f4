#pragma once
// INT8 kernels for inference on CPUs with AVX-512 VNNI or AVX2, filters packed once, any number of threads;
// bit-identical to the shared bodies of quantized_conv2d.h and quantized_elementwise.h. Every function is
// called by every thread of the team.

#include <cstdint>
#include <vector>

#include "kernels/quantized_conv2d.h"
#include "kernels/quantized_target.h"
#include "kernels/resize.h"
#include "kernels/team.h"

namespace espalier::kernels {

/// False where the program was built for a CPU with neither; then only the shared bodies run.
bool has_quantized_prepared();

/// Filters w [K,R,S,C] as [ceil(K / kLanes)][R][groups][kLanes][kGroup] (quantized_target.h), a group being
/// neighbouring codes of a line of the window (S * C codes); and per output channel the bias and multiplier;
/// filled up with zeros. Where s8 activations enter with kOffset added, the bias takes kOffset * (sum of the
/// filter) away again: still exact. Where S * K fits one vector and there is no stride, the filter's columns
/// are lanes of their own (lane = column * K + k) and a group is of neighbouring channels.
class PackedCodes {
 public:
  PackedCodes(const ConvShape& shape, Code x_code, const int8_t* w, const int32_t* bias,
              const float* multiplier);

  bool columns_apart() const { return apart_; }
  bool winograd() const { return winograd_; }
  int vectors() const { return vectors_; }
  int lines() const { return lines_; }
  int groups() const { return groups_; }  ///< per line
  const int8::Filter* vector(int v) const {
    return codes_.data() + static_cast<size_t>(v) * lines_ * groups_ * int8::kBlock;
  }
  const int32_t* bias(int v) const { return bias_.data() + v * int8::kLanes; }
  const float* multiplier(int v) const { return multiplier_.data() + v * int8::kLanes; }
  double largest() const { return largest_; }  ///< bound of |sum * multiplier|
  int64_t bytes() const {
    return static_cast<int64_t>(sizeof(int8::Filter) * codes_.size() + 8 * bias_.size());
  }

 private:
  bool apart_, winograd_;
  int vectors_, lines_, groups_;
  std::vector<int8::Filter> codes_;
  std::vector<int32_t> bias_;
  std::vector<float> multiplier_;
  double largest_ = 0;
};

/// quantized_conv2d() on packed filters; r.bias and r.multiplier are not read.
void quantized_conv2d_prepared(const ConvShape& shape, Code x_code, const PackedCodes& w, const Requantize& r,
                               Code y_code, const void* x, void* y, const Team& team);

/// Depthwise filters w [R,S,C] for kStep channels at a time, kGroup taps of a line in one 32-bit lane, in the
/// order that unpacking taps gives. Without stride a line of outputs is one long vector, in which channels
/// repeat: the filters are laid out for as many vectors as it takes until they begin at channel 0 again.
class DepthwiseCodes {
 public:
  DepthwiseCodes(const ConvShape& shape, Code x_code, const int8_t* w, const int32_t* bias,
                 const float* multiplier);

  int phases() const { return phases_; }
  bool flat() const { return flat_; }  ///< channels repeat; otherwise the last phase is filled up with zeros
  int groups() const { return groups_; }  ///< of kGroup taps, per line
  const int8::Filter* phase(int p) const {
    return codes_.data() + static_cast<size_t>(p) * lines_ * groups_ * int8::kPack * int8::kBlock;
  }
  const int32_t* bias(int p) const { return bias_.data() + p * int8::kStep; }
  const float* multiplier(int p) const { return multiplier_.data() + p * int8::kStep; }
  double largest() const { return largest_; }  ///< bound of |sum * multiplier|
  int64_t bytes() const {
    return static_cast<int64_t>(sizeof(int8::Filter) * codes_.size() + 8 * bias_.size());
  }

 private:
  int phases_, lines_, groups_;
  bool flat_;
  std::vector<int8::Filter> codes_;
  std::vector<int32_t> bias_;
  std::vector<float> multiplier_;
  double largest_ = 0;
};

/// quantized_depthwise() on packed filters; r.bias and r.multiplier are not read.
void quantized_depthwise_prepared(const ConvShape& shape, Code x_code, const DepthwiseCodes& w,
                                  const Requantize& r, Code y_code, const void* x, void* y, const Team& team);

/// quantize(), dequantize(), quantized_add() and quantized_global_avg_pool() by a team.
void quantize_prepared(int64_t n, const float* x, float inverse_scale, int low, int high, void* y,
                       const Team& team);
void dequantize_prepared(int64_t n, Code x_code, const void* x, float scale, float* y, const Team& team);
void quantized_add_prepared(int64_t n, Code a_code, const void* a, float a_factor, Code b_code, const void* b,
                            float b_factor, int low, int high, void* y, const Team& team);
void quantized_global_avg_pool_prepared(int N, int pixels, int C, Code code, const void* x, void* y,
                                        const Team& team);

/// quantized_max_pool() and quantized_resize() by a team; they need neither.
void quantized_max_pool_prepared(const ConvShape& shape, Code code, const void* x, void* y, const Team& team);
void quantized_resize_prepared(const ResizeShape& shape, Code code, const void* x, void* y, const Team& team);

}  // namespace espalier::kernels
