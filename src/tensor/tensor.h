#pragma once
// The one Tensor: dense storage on one device with an element type. Activations are [N,H,W,C], dense filters
// [K,R,S,C], depthwise filters [R,S,C], linear weights [K,C], per-channel vectors [C]. No views, no strides,
// no second layout.

#include <memory>
#include <span>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/device.h"
#include "tensor/shape.h"

namespace espalier {

class Tensor;
using Tensors = std::vector<Tensor>;

/// What autograd keeps with a tensor; defined in ops/autograd.h. A tensor without it takes no part in
/// gradients.
struct GradState;

/// A handle: copies share the same storage and gradient state, as in every eager framework.
class Tensor {
 public:
  Tensor() = default;  ///< undefined: no shape, no storage
  explicit Tensor(const Shape& shape, Device device = Device::kCpu, DType dtype = DType::kF32);

  /// A tensor of shape and type without storage, for tracing and for what backward does not need.
  static Tensor without_data(const Meta& meta, Device device = Device::kCpu);
  /// A tensor over memory that someone else owns and keeps alive (a Session's arena, a decoded image).
  static Tensor over(void* memory, const Meta& meta, Device device = Device::kCpu);
  static Tensor zeros(const Shape& shape, Device device = Device::kCpu, DType dtype = DType::kF32);
  static Tensor full(const Shape& shape, float value, Device device = Device::kCpu);
  /// Copies host values in; their count must be the shape's.
  static Tensor from(std::span<const float> values, const Shape& shape, Device device = Device::kCpu);
  static Tensor from(std::span<const int32_t> values, const Shape& shape, Device device = Device::kCpu);

  bool defined() const { return impl_ != nullptr; }
  bool has_data() const;
  explicit operator bool() const { return defined(); }

  const Shape& shape() const;
  DType dtype() const;
  Device device() const;
  Meta meta() const { return {shape(), dtype()}; }
  int64_t elements() const { return shape().elements(); }
  int64_t bytes() const { return elements() * bytes_of(dtype()); }
  int channels() const { return shape().back(); }

  /// Typed pointers; asserted to match dtype().
  float* f32() const;
  Bf16* bf16() const;
  int8_t* s8() const;
  uint8_t* u8() const;
  int32_t* s32() const;
  void* data() const;
  /// f32() or bf16().
  template <class T>
  T* as() const;

  Tensor to(Device device) const;                 ///< the same tensor if it is there already
  Tensor clone() const;                           ///< new storage, no gradient state
  Tensor detached() const;                        ///< the same storage, no gradient state
  std::vector<float> to_vector() const;           ///< host copy of any dtype, converted to float
  void set(std::span<const float> values) const;  ///< overwrites f32 contents from the host
  void copy_from(const Tensor& other) const;      ///< overwrites contents; shape and dtype must match
  float item() const;                             ///< the value of a one-element tensor

  /// True when no other handle shares this storage, so that it may be overwritten.
  bool sole_owner() const;
  /// True when both handles are the same tensor (not merely equal values).
  bool same(const Tensor& other) const { return impl_ == other.impl_; }

  // Gradients. See ops/op.h for how they are made.
  bool requires_grad() const;
  const Tensor& set_requires_grad(bool on = true) const;  ///< makes a leaf; only f32
  Tensor grad() const;                                    ///< undefined before backward() reached it
  void set_grad(const Tensor& gradient) const;
  void clear_grad() const { set_grad({}); }
  std::shared_ptr<GradState>& grad_state() const;  ///< for ops/ only

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace espalier
