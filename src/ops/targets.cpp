#include "ops/targets.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <string>

#include "base/error.h"
#include "tensor/allocator.h"

namespace espalier {

namespace {

thread_local bool checked = false;

bool looked_at(const Tensor& targets) { return checked && targets.device() != Device::kCpu; }

template <class T>
Tensor constant_of(std::span<const T> values, const Shape& shape, Device device) {
  if (device == Device::kCpu) return Tensor::from(values, shape, device);
  static std::mutex mutex;
  static auto* kept = new std::map<std::string, Tensor>;  // never destroyed: CUDA may be gone by then
  const std::string key =
      str(shape, std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
  const std::lock_guard lock(mutex);
  const allocator::CommonBlocks outlives_a_recorded_step;
  if (const auto found = kept->find(key); found != kept->end()) return found->second;
  Tensor tensor = Tensor::from(values, shape, device);
  constexpr size_t kMost = 256;  // what changes with every batch is no constant and must not pile up
  if (kept->size() < kMost) kept->emplace(key, tensor);
  return tensor;
}

}  // namespace

CheckedTargets::CheckedTargets() : outer_(checked) { checked = true; }
CheckedTargets::~CheckedTargets() { checked = outer_; }

void check_labels(const char* who, const Tensor& labels, int classes, int ignored) {
  if (looked_at(labels)) return;
  const Tensor host = labels.to(Device::kCpu);
  const std::span<const int32_t> all(host.s32(), static_cast<size_t>(host.elements()));
  const auto wrong = [&](int32_t label) { return ((label < 0) | (label >= classes)) & (label != ignored); };
  // Most batches have none, and a mask's million labels are counted faster than searched.
  if (std::count_if(all.begin(), all.end(), wrong) == 0) return;
  const auto first = std::find_if(all.begin(), all.end(), wrong);
  fail(str(who, ": the label of row ", first - all.begin(), " is ", *first, "; it must lie in 0 .. ",
           classes - 1));
}

void check_boxes(const char* who, const Tensor& boxes, int classes) {
  if (looked_at(boxes)) return;
  const Tensor host = boxes.to(Device::kCpu);
  const int M = host.shape()[1];
  for (int64_t i = 0; i < host.elements() / 6; ++i) {
    const float* b = host.f32() + i * 6;
    const auto describe = [&] { return str(who, ": box ", i % M, " of image ", i / M, " "); };
    ESPALIER_CHECK(std::all_of(b, b + 6, [](float v) { return std::isfinite(v); }), describe(), "holds NaN");
    if (b[2] < 1e-6f || b[3] < 1e-6f) continue;  // padding
    ESPALIER_CHECK(b[0] >= 0 && b[0] <= 1 && b[1] >= 0 && b[1] <= 1, describe(), "has its centre at ", b[0],
                   ", ", b[1], "; shares of the picture must lie in 0 .. 1");
    ESPALIER_CHECK(b[4] >= 0 && b[4] < static_cast<float>(classes) && b[4] == std::floor(b[4]), describe(),
                   "has class ", b[4], "; it must be one of 0 .. ", classes - 1);
    ESPALIER_CHECK(b[5] >= 0, describe(), "has score ", b[5], "; it must not be negative");
  }
}

Tensor constant(std::span<const float> values, const Shape& shape, Device device) {
  return constant_of(values, shape, device);
}
Tensor constant(std::span<const int32_t> values, const Shape& shape, Device device) {
  return constant_of(values, shape, device);
}

}  // namespace espalier
