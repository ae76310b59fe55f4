#include "runtime/arena.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace espalier {
namespace {

TEST(Arena, BlocksThatLiveTogetherDoNotOverlap) {
  Random random(7, Purpose::kTest);
  for (int round = 0; round < 50; ++round) {
    std::vector<Lifetime> lives(static_cast<size_t>(1 + random.below(40)));
    for (Lifetime& life : lives) {
      life.first = random.below(30);
      life.last = life.first + random.below(8);
      life.bytes = 1 + random.below(5000);
    }
    const ArenaLayout layout = plan_arena(lives);
    ASSERT_EQ(layout.offsets.size(), lives.size());
    for (size_t i = 0; i < lives.size(); ++i) {
      EXPECT_EQ(layout.offsets[i] % ArenaLayout::kAlignment, 0);
      EXPECT_LE(layout.offsets[i] + lives[i].bytes, layout.bytes);
      for (size_t j = 0; j < i; ++j)
        if (lives[i].first <= lives[j].last && lives[j].first <= lives[i].last)
          EXPECT_TRUE(layout.offsets[i] + lives[i].bytes <= layout.offsets[j] ||
                      layout.offsets[j] + lives[j].bytes <= layout.offsets[i])
              << i << " and " << j << " overlap";
    }
  }
}

TEST(Arena, AChainNeedsItsTwoLargestNeighbours) {
  const std::vector<Lifetime> chain = {{6400, 0, 1}, {640, 1, 2}, {12800, 2, 3}, {3200, 3, 4}, {64, 4, 5}};
  EXPECT_EQ(plan_arena(chain).bytes, 12800 + 3200);
}

TEST(Arena, AGapOfTheRightSizeIsUsed) {
  // 0 and 1 live all the time, 2 dies early and leaves a gap that 3 fits.
  const std::vector<Lifetime> lives = {{1024, 0, 9}, {256, 0, 9}, {512, 0, 3}, {512, 4, 9}};
  EXPECT_EQ(plan_arena(lives).bytes, 1024 + 256 + 512);
}

TEST(Arena, IsEmptyForNothing) { EXPECT_EQ(plan_arena({}).bytes, 0); }

}  // namespace
}  // namespace espalier
