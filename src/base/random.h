#pragma once
// Counter-based random numbers (Philox 4x32-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). A stream is a pure function of its key, so results never depend on threads, workers or the order
// of calls elsewhere.

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace espalier {

/// What a stream is for. Two purposes never share numbers.
enum class Purpose : uint32_t {
  kInit = 1,
  kShuffle,
  kAugment,
  kDropout,
  kSubset,
  kSynthetic,
  kTest,
  kCriterion,
  kBatch,
  kBootstrap
};

/// Four words of counter and two of key to four random words. Kernels call it on the device.
constexpr std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(a)};
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return c;
}

/// Where a stream's numbers come from, for those who need them out of order: word i of the stream is
/// block(i / 4)[i % 4].
struct RandomStream {
  std::array<uint32_t, 2> key;
  std::array<uint32_t, 3> upper;  ///< of the counter; its lowest word numbers the block
  constexpr std::array<uint32_t, 4> block(uint32_t number) const {
    return philox({number, upper[0], upper[1], upper[2]}, key);
  }
};

/// Keyed by (seed, purpose, epoch, sample).
constexpr RandomStream random_stream(uint64_t seed, Purpose purpose, uint64_t epoch, uint64_t sample) {
  return {{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
          {static_cast<uint32_t>(sample), static_cast<uint32_t>(epoch),
           static_cast<uint32_t>(purpose) ^ static_cast<uint32_t>(sample >> 32) << 16}};
}

/// One stream of random numbers, keyed by (seed, purpose, epoch, sample).
class Random {
 public:
  Random(uint64_t seed, Purpose purpose, uint64_t epoch = 0, uint64_t sample = 0);

  uint32_t bits();                          ///< 32 uniform bits
  double uniform();                         ///< in [0, 1)
  double uniform(double low, double high);  ///< in [low, high)
  int below(int count);                     ///< in 0 .. count - 1, without modulo bias
  double normal();                          ///< mean 0, variance 1 (Box-Muller)
  bool flip(double probability) { return uniform() < probability; }

 private:
  RandomStream stream_;
  std::array<uint32_t, 4> block_{};
  uint32_t next_ = 0;
  int used_ = 4;
};

/// Fisher-Yates; the order is a function of the stream alone.
template <class Vector>
void shuffle(Vector& items, Random& random) {
  for (int i = static_cast<int>(items.size()) - 1; i > 0; --i)
    std::swap(items[i], items[random.below(i + 1)]);
}

/// FNV-1a over bytes; for keys and fingerprints, not for security.
uint64_t fnv1a(const void* data, size_t bytes, uint64_t hash = 0xCBF29CE484222325ull);

}  // namespace espalier
