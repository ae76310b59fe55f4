#include "base/random.h"

#include <cmath>
#include <numbers>

namespace espalier {

Random::Random(uint64_t seed, Purpose purpose, uint64_t epoch, uint64_t sample)
    : stream_(random_stream(seed, purpose, epoch, sample)) {}

uint32_t Random::bits() {
  if (used_ == 4) {
    block_ = stream_.block(next_++);
    used_ = 0;
  }
  return block_[used_++];
}

double Random::uniform() {
  const uint64_t high = bits() >> 6, low = bits() >> 5;  // 26 + 27 bits
  return static_cast<double>(high << 27 | low) * 0x1p-53;
}

double Random::uniform(double low, double high) { return low + (high - low) * uniform(); }

int Random::below(int count) {
  // Lemire's multiply-shift with rejection.
  const uint32_t n = static_cast<uint32_t>(count), floor = -n % n;
  uint64_t product = uint64_t{bits()} * n;
  while (static_cast<uint32_t>(product) < floor) product = uint64_t{bits()} * n;
  return static_cast<int>(product >> 32);
}

double Random::normal() {
  const double u = 1.0 - uniform(), v = uniform();  // u in (0, 1]: its logarithm is finite
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

uint64_t fnv1a(const void* data, size_t bytes, uint64_t hash) {
  for (const auto* p = static_cast<const unsigned char*>(data); bytes--; ++p)
    hash = (hash ^ *p) * 0x100000001B3ull;
  return hash;
}

}  // namespace espalier
