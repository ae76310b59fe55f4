#include "support/random_tensor.h"

#include "base/random.h"

namespace espalier::test {

Tensor random_tensor(const Shape& shape, Device device, uint64_t seed) {
  Random random(seed, Purpose::kTest);
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (float& v : values) v = static_cast<float>(random.normal());
  return Tensor::from(values, shape, device);
}

}  // namespace espalier::test
