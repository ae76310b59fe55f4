#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

namespace espalier {
namespace {

// The known answers of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Philox, GivesTheKnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, StreamsDifferInEveryPartOfTheirKey) {
  std::set<uint32_t> first;
  for (uint64_t seed : {1ull, 2ull, 1ull << 33})
    for (Purpose purpose : {Purpose::kInit, Purpose::kShuffle, Purpose::kAugment})
      for (uint64_t epoch : {0, 1, 2})
        for (uint64_t sample : {0ull, 1ull, 1ull << 32})
          first.insert(Random(seed, purpose, epoch, sample).bits());
  EXPECT_EQ(first.size(), 81u);
}

TEST(Random, RepeatsForTheSameKey) {
  Random a(7, Purpose::kTest, 3, 9), b(7, Purpose::kTest, 3, 9);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(a.bits(), b.bits());
}

TEST(Random, UniformAndNormalHaveTheirMoments) {
  Random r(1, Purpose::kTest);
  constexpr int kCount = 200000;
  double sum = 0, squares = 0, normal_sum = 0, normal_squares = 0, normal_fourth = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = r.uniform(), n = r.normal();
    ASSERT_TRUE(u >= 0 && u < 1);
    sum += u, squares += u * u;
    normal_sum += n, normal_squares += n * n, normal_fourth += n * n * n * n;
  }
  // Five standard errors of each estimate.
  EXPECT_NEAR(sum / kCount, 0.5, 5 * std::sqrt(1.0 / 12 / kCount));
  EXPECT_NEAR(squares / kCount, 1.0 / 3, 5 * 0.3 / std::sqrt(kCount));
  EXPECT_NEAR(normal_sum / kCount, 0, 5 / std::sqrt(kCount));
  EXPECT_NEAR(normal_squares / kCount, 1, 5 * std::sqrt(2.0 / kCount));
  EXPECT_NEAR(normal_fourth / kCount, 3, 5 * std::sqrt(96.0 / kCount));
}

TEST(Random, BelowIsUniformAndInRange) {
  Random r(2, Purpose::kTest);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts.at(r.below(7));
  for (int c : counts) EXPECT_NEAR(c, 10000, 500);
  EXPECT_EQ(r.below(1), 0);
}

TEST(Random, ShuffleIsAPermutationThatMovesThings) {
  std::vector<int> items(100);
  for (int i = 0; i < 100; ++i) items[i] = i;
  Random r(3, Purpose::kShuffle);
  shuffle(items, r);
  int fixed = 0;
  for (int i = 0; i < 100; ++i) fixed += items[i] == i;
  EXPECT_LT(fixed, 10);
  std::sort(items.begin(), items.end());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(items[i], i);
}

TEST(Fnv1a, GivesThePublishedValues) {
  EXPECT_EQ(fnv1a("", 0), 0xcbf29ce484222325ull);
  EXPECT_EQ(fnv1a("a", 1), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(fnv1a("foobar", 6), 0x85944171f73967e8ull);
}

}  // namespace
}  // namespace espalier
