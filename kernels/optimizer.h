#pragma once
// Updates of many parameters in one pass: a step over 160 small tensors would otherwise be 160 loops.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/step_control.h"

namespace espalier::kernels {

/// One tensor of a pass: n elements, and what an update reads and writes of it. Unused pointers are null.
struct ParameterSlice {
  float* w = nullptr;
  const float* g = nullptr;  ///< gradient
  float *m = nullptr, *v = nullptr;
  int64_t elements = 0;
  float rate_factor = 1;  ///< times the learning rate
  float decay = 0;        ///< weight decay
};

/// The tensors of a pass where the device reads them. Keeps its memory from pass to pass.
class SliceTable {
 public:
  explicit SliceTable(Device device) : device_(device) {}
  ~SliceTable();
  SliceTable(const SliceTable&) = delete;

  /// While launches are recorded the table stays on the host until flush(); it may not be longer then than
  /// one that was set before.
  void set(std::span<const ParameterSlice> slices);
  /// Sends what set() could not.
  void flush();

  Device device() const { return device_; }
  int count() const { return static_cast<int>(slices_.size()); }
  std::span<const ParameterSlice> slices() const { return slices_; }
  /// The table on the device, and `first`, where each slice begins when all are cut in blocks of the device's
  /// length; first[count] is block_count().
  const ParameterSlice* on_device() const;
  const int64_t* first() const;
  int64_t block_count() const { return first_.back(); }
  /// Working memory for square_sum(), on the device.
  double* sums();

 private:
  size_t table_bytes() const { return slices_.size() * sizeof(ParameterSlice); }
  size_t index_bytes() const { return first_.size() * sizeof(int64_t); }

  Device device_;
  std::vector<ParameterSlice> slices_;
  std::vector<int64_t> first_ = {0};
  std::vector<double> host_sums_;
  void* memory_ = nullptr;  ///< slices, first, sums
  size_t bytes_ = 0;
  bool pending_ = false;
};

// Updates do nothing unless control->finite; control and what it points to lie on the device.

struct SgdStep {
  float momentum;
  bool decoupled;
};
/// With rate = control->rate * rate_factor, g' = control->gradient_scale g + (decoupled ? 0 : decay w):
/// m = momentum m + g';  w = (decoupled ? w - rate decay w : w) - rate m
void sgd_step(const SliceTable& table, const SgdStep& step, const StepControl* control);

struct AdamWStep {
  float beta1, beta2, eps;
};
/// With rate as above, g' = control->gradient_scale g and the control's corrections, 1 - beta^t:
/// m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2
/// w = w - rate decay w - rate (m / correction1) / (sqrt(v / correction2) + eps)
void adamw_step(const SliceTable& table, const AdamWStep& step, const StepControl* control);

/// m = m + control->average_share (w - m)
void average_into(const SliceTable& table, const StepControl* control);

/// The sum of g^2 over all slices, in double over parts of fixed length: the same bits with any number of
/// threads. Where it lies on the device, valid until the table's next; null if there is no slice.
const double* square_sum(SliceTable& table);

}  // namespace espalier::kernels
