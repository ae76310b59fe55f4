#include "base/random.h"

#include <cmath>
#include <numbers>

namespace espalier {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(a)};
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return c;
}

Random::Random(uint64_t seed, Purpose purpose, uint64_t epoch, uint64_t sample) {
  // Epoch, sample and purpose fill the counter's upper words; the lowest counts blocks.
  key_ = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  counter_ = {0, static_cast<uint32_t>(sample), static_cast<uint32_t>(epoch),
              static_cast<uint32_t>(purpose) ^ static_cast<uint32_t>(sample >> 32) << 16};
}

uint32_t Random::bits() {
  if (used_ == 4) {
    block_ = philox(counter_, key_);
    ++counter_[0];
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
