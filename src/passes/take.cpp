#include "passes/take.h"

#include <cstring>

namespace espalier {

Tensor take(const Tensor& from, int axis, const std::vector<int>& positions) {
  Shape shape = from.shape();
  int64_t outer = 1, inner = bytes_of(from.dtype());
  for (int a = 0; a < axis; ++a) outer *= shape[a];
  for (int a = axis + 1; a < shape.axes(); ++a) inner *= shape[a];
  const int64_t extent = shape[axis];
  shape[axis] = static_cast<int>(positions.size());
  if (!from.has_data()) return Tensor::without_data({shape, from.dtype()}, from.device());
  const Tensor source = from.to(Device::kCpu), target(shape, Device::kCpu, from.dtype());
  const auto* read = static_cast<const char*>(source.data());
  auto* write = static_cast<char*>(target.data());
  const auto bytes = static_cast<size_t>(inner);
  for (int64_t o = 0; o < outer; ++o)
    for (const int i : positions) {
      if (i < 0)
        std::memset(write, 0, bytes);
      else
        std::memcpy(write, read + (o * extent + i) * inner, bytes);
      write += inner;
    }
  return target.to(from.device());
}

}  // namespace espalier
