#include "tensor/tensor.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "tensor/allocator.h"
#include "tensor/grad_state.h"

namespace espalier {

namespace {

/// ESPALIER_NAN_FILL=1 fills fresh tensors with NaN, so that reading what was never written shows. The tests
/// set it.
bool nan_fill() {
  static const bool on = [] {
    const char* value = std::getenv("ESPALIER_NAN_FILL");
    return value && std::strcmp(value, "1") == 0;
  }();
  return on;
}

constexpr int kNanByte = 0xFF;  // four of them are a NaN, and two a bf16 one

struct Storage {
  void* memory = nullptr;
  size_t granted = 0;  // 0: someone else's memory
  Device device = Device::kCpu;

  Storage(Device device, size_t bytes) : device(device) { memory = allocator::take(device, bytes, &granted); }
  explicit Storage(void* memory, Device device) : memory(memory), device(device) {}
  ~Storage() {
    if (granted) allocator::give_back(device, memory, granted);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
};

}  // namespace

struct Tensor::Impl {
  Shape shape;
  DType dtype = DType::kF32;
  Device device = Device::kCpu;
  std::shared_ptr<Storage> storage;
  std::shared_ptr<GradState> grad_state;
};

Tensor::Tensor(const Shape& shape, Device device, DType dtype) : impl_(std::make_shared<Impl>()) {
  for (int i = 0; i < shape.axes(); ++i)
    ESPALIER_CHECK(shape[i] >= 0, "a tensor of shape ", shape,
                   " was asked for; extents must not be negative");
  impl_->shape = shape;
  impl_->dtype = dtype;
  impl_->device = device;
  impl_->storage = std::make_shared<Storage>(device, static_cast<size_t>(shape.elements()) * bytes_of(dtype));
  if (nan_fill() && (dtype == DType::kF32 || dtype == DType::kBF16))
    kernels::fill_bytes(device, data(), kNanByte, static_cast<size_t>(bytes()));
}

Tensor Tensor::without_data(const Meta& meta, Device device) {
  Tensor t;
  t.impl_ = std::make_shared<Impl>();
  t.impl_->shape = meta.shape;
  t.impl_->dtype = meta.dtype;
  t.impl_->device = device;
  return t;
}

Tensor Tensor::over(void* memory, const Meta& meta, Device device) {
  Tensor t = without_data(meta, device);
  t.impl_->storage = std::make_shared<Storage>(memory, device);
  return t;
}

Tensor Tensor::zeros(const Shape& shape, Device device, DType dtype) {
  Tensor t(shape, device, dtype);
  kernels::fill_bytes(device, t.data(), 0, static_cast<size_t>(t.bytes()));
  return t;
}

Tensor Tensor::full(const Shape& shape, float value, Device device) {
  Tensor t(shape, device);
  kernels::fill(device, t.elements(), value, t.f32());
  return t;
}

Tensor Tensor::from(std::span<const float> values, const Shape& shape, Device device) {
  Tensor t(shape, device);
  t.set(values);
  return t;
}

Tensor Tensor::from(std::span<const int32_t> values, const Shape& shape, Device device) {
  Tensor t(shape, device, DType::kS32);
  ESPALIER_CHECK(static_cast<int64_t>(values.size()) == t.elements(), values.size(),
                 " values for a tensor of shape ", shape);
  kernels::copy(device, t.data(), Device::kCpu, values.data(), static_cast<size_t>(t.bytes()));
  return t;
}

bool Tensor::has_data() const { return impl_ && impl_->storage; }
const Shape& Tensor::shape() const {
  assert(impl_);
  return impl_->shape;
}
DType Tensor::dtype() const { return impl_->dtype; }
Device Tensor::device() const { return impl_->device; }

void* Tensor::data() const {
  assert(has_data());
  return impl_->storage->memory;
}
float* Tensor::f32() const {
  assert(dtype() == DType::kF32);
  return static_cast<float*>(data());
}
Bf16* Tensor::bf16() const {
  assert(dtype() == DType::kBF16);
  return static_cast<Bf16*>(data());
}
template <>
float* Tensor::as() const {
  return f32();
}
template <>
Bf16* Tensor::as() const {
  return bf16();
}
int8_t* Tensor::s8() const {
  assert(dtype() == DType::kS8);
  return static_cast<int8_t*>(data());
}
uint8_t* Tensor::u8() const {
  assert(dtype() == DType::kU8);
  return static_cast<uint8_t*>(data());
}
int32_t* Tensor::s32() const {
  assert(dtype() == DType::kS32);
  return static_cast<int32_t*>(data());
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor t(shape(), device, dtype());
  kernels::copy(device, t.data(), this->device(), data(), static_cast<size_t>(bytes()));
  return t;
}

Tensor Tensor::clone() const {
  Tensor t(shape(), device(), dtype());
  t.copy_from(*this);
  return t;
}

Tensor Tensor::detached() const {
  Tensor t = without_data(meta(), device());
  t.impl_->storage = impl_->storage;
  return t;
}

std::vector<float> Tensor::to_vector() const {
  const Tensor host = to(Device::kCpu);
  std::vector<float> values(static_cast<size_t>(elements()));
  const auto convert = [&](const auto* p) { std::copy(p, p + values.size(), values.begin()); };
  switch (dtype()) {
    case DType::kF32:
      convert(host.f32());
      break;
    case DType::kS8:
      convert(host.s8());
      break;
    case DType::kU8:
      convert(host.u8());
      break;
    case DType::kS32:
      convert(host.s32());
      break;
    case DType::kBF16:
      convert(host.bf16());
      break;
  }
  return values;
}

void Tensor::set(std::span<const float> values) const {
  ESPALIER_CHECK(static_cast<int64_t>(values.size()) == elements() && dtype() == DType::kF32, values.size(),
                 " float values for a tensor ", meta());
  kernels::copy(device(), data(), Device::kCpu, values.data(), static_cast<size_t>(bytes()));
}

void Tensor::copy_from(const Tensor& other) const {
  ESPALIER_CHECK(other.meta() == meta(), "copy: from ", other.meta(), " to ", meta(), "; both must be equal");
  kernels::copy(device(), data(), other.device(), other.data(), static_cast<size_t>(bytes()));
}

float Tensor::item() const {
  ESPALIER_CHECK(elements() == 1, "item: the tensor has shape ", shape(),
                 "; only one element has a single value");
  return to_vector()[0];
}

bool Tensor::sole_owner() const {
  return impl_.use_count() == 1 && impl_->storage.use_count() == 1 && impl_->storage->granted;
}

bool Tensor::requires_grad() const {
  return impl_ && impl_->grad_state && (impl_->grad_state->requires_grad || impl_->grad_state->node);
}

const Tensor& Tensor::set_requires_grad(bool on) const {
  ESPALIER_CHECK(dtype() == DType::kF32 || !on, "only f32 tensors have gradients, not ", meta());
  grad_state()->requires_grad = on;
  return *this;
}

Tensor Tensor::grad() const { return impl_->grad_state ? impl_->grad_state->grad : Tensor(); }

void Tensor::set_grad(const Tensor& gradient) const {
  if (gradient.defined() || impl_->grad_state) grad_state()->grad = gradient;
}

std::shared_ptr<GradState>& Tensor::grad_state() const {
  if (!impl_->grad_state) impl_->grad_state = std::make_shared<GradState>();
  return impl_->grad_state;
}

}  // namespace espalier
