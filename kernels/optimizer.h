#pragma once
// Updates of many parameters in one pass: a step over 160 small tensors would otherwise be 160 loops.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/device.h"

namespace espalier::kernels {

/// One tensor of a pass: n elements, and what an update reads and writes of it. Unused pointers are null.
struct ParameterSlice {
  float* w = nullptr;
  const float* g = nullptr;  ///< gradient
  float *m = nullptr, *v = nullptr;
  int64_t elements = 0;
  float rate = 0;   ///< learning rate
  float decay = 0;  ///< weight decay
};

/// The tensors of a pass where the device reads them. Keeps its memory from pass to pass.
class SliceTable {
 public:
  explicit SliceTable(Device device) : device_(device) {}
  ~SliceTable();
  SliceTable(const SliceTable&) = delete;

  void set(std::span<const ParameterSlice> slices);

  Device device() const { return device_; }
  int count() const { return static_cast<int>(slices_.size()); }
  std::span<const ParameterSlice> slices() const { return slices_; }
  /// The table on the device, and `first`, where each slice begins when all are cut in blocks of the device's
  /// length; first[count] is block_count().
  const ParameterSlice* on_device() const;
  const int64_t* first() const;
  int64_t block_count() const { return first_.back(); }

 private:
  Device device_;
  std::vector<ParameterSlice> slices_;
  std::vector<int64_t> first_ = {0};
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

struct SgdStep {
  float momentum, gradient_scale;
  bool decoupled;
};
/// g' = gradient_scale g + (decoupled ? 0 : decay w);  m = momentum m + g'
/// w = (decoupled ? w - rate decay w : w) - rate m
void sgd_step(const SliceTable& table, const SgdStep& step);

struct AdamWStep {
  float beta1, beta2, eps, gradient_scale;
  float correction1, correction2;  ///< 1 - beta^t
};
/// g' = gradient_scale g;  m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2
/// w = w - rate decay w - rate (m / correction1) / (sqrt(v / correction2) + eps)
void adamw_step(const SliceTable& table, const AdamWStep& step);

/// m = m + share (w - m)
void average_into(const SliceTable& table, float share);

/// The sum of g^2 over all slices, in double over parts of fixed length: the same bits with any number of
/// threads.
double square_sum(const SliceTable& table);

}  // namespace espalier::kernels
