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
  kCriterion
};

/// Four words of counter and two of key to four random words.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

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
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_, block_{};
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
