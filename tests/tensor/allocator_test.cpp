#include "tensor/allocator.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "base/error.h"
#include "kernels/exact_blocks.h"
#include "tensor/tensor.h"

namespace espalier {
namespace {

using allocator::CommonBlocks;
using allocator::OwnBlocks;

const Shape kShape{12345};

void* address_of_a_tensor() { return Tensor(kShape).data(); }

TEST(OwnBlocks, BelongToNobodyElse) {
  const OwnBlocks blocks(Device::kCpu);
  void* own = nullptr;
  {
    const OwnBlocks::Scope scope(blocks);
    own = address_of_a_tensor();
    EXPECT_EQ(address_of_a_tensor(), own) << "given back and taken again";
  }
  const Tensor first(kShape), second(kShape);
  EXPECT_NE(first.data(), own);
  EXPECT_NE(second.data(), own);
  const OwnBlocks::Scope scope(blocks);
  EXPECT_EQ(address_of_a_tensor(), own);
}

TEST(OwnBlocks, ABlockGoesBackWhereItCameFromWhoeverLetsItGo) {
  const OwnBlocks blocks(Device::kCpu);
  std::optional<Tensor> kept;
  {
    const OwnBlocks::Scope scope(blocks);
    kept.emplace(kShape);
  }
  void* const own = kept->data();
  kept.reset();
  EXPECT_NE(Tensor(kShape).data(), own);
  const OwnBlocks::Scope scope(blocks);
  EXPECT_EQ(address_of_a_tensor(), own);
}

TEST(OwnBlocks, WhatIsToOutliveThemComesFromTheCommonOnes) {
  const OwnBlocks blocks(Device::kCpu);
  const OwnBlocks::Scope scope(blocks);
  void* const own = address_of_a_tensor();
  const CommonBlocks common;
  EXPECT_NE(address_of_a_tensor(), own);
}

TEST(OwnBlocks, AreNestedAndOfOneDevice) {
  const OwnBlocks outer(Device::kCpu), inner(Device::kCpu), other(Device::kCuda);
  const OwnBlocks::Scope scope(outer);
  void* const own = address_of_a_tensor();
  {
    const OwnBlocks::Scope within(inner);
    EXPECT_NE(address_of_a_tensor(), own);
  }
  EXPECT_EQ(address_of_a_tensor(), own);
  const OwnBlocks::Scope elsewhere(other);
  EXPECT_NE(address_of_a_tensor(), own);
}

TEST(OwnBlocks, LetABlockLiveLongerThanThemselves) {
  const int64_t before = allocator::statistics(Device::kCpu).in_use;
  std::optional<Tensor> kept;
  {
    const OwnBlocks blocks(Device::kCpu);
    const OwnBlocks::Scope scope(blocks);
    kept = Tensor::full(kShape, 3);
    address_of_a_tensor();
  }
  EXPECT_EQ(kept->f32()[kShape[0] - 1], 3);
  kept.reset();
  EXPECT_EQ(allocator::statistics(Device::kCpu).in_use, before);
}

/// While it lives the process may not map more than `bytes` beyond what it has.
class LittleMemory {
 public:
  explicit LittleMemory(size_t bytes) {
    getrlimit(RLIMIT_AS, &before_);
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit limit{pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) + bytes, before_.rlim_max};
    setrlimit(RLIMIT_AS, &limit);
  }
  ~LittleMemory() { setrlimit(RLIMIT_AS, &before_); }
  LittleMemory(const LittleMemory&) = delete;

 private:
  rlimit before_{};
};

/// Not tensors alone ask: a kernel's working memory is its own.
TEST(Allocator, WhatIsKeptForReuseGoesToWhoeverFindsNoMemory) {
  if (kernels::exact_blocks()) GTEST_SKIP() << "nothing is kept";
  constexpr size_t kBytes = size_t{512} << 20;
  allocator::release_cached(Device::kCpu);
  Tensor(Shape{static_cast<int>(kBytes / sizeof(float))});
  ASSERT_EQ(allocator::statistics(Device::kCpu).cached, static_cast<int64_t>(kBytes));
  const LittleMemory limit(kBytes / 2);
  void* const memory = kernels::allocate(Device::kCpu, kBytes);
  EXPECT_EQ(allocator::statistics(Device::kCpu).cached, 0);
  EXPECT_THROW(kernels::allocate_lasting(Device::kCpu, kBytes), OutOfMemory);
  kernels::release(Device::kCpu, memory, kBytes);
}

}  // namespace
}  // namespace espalier
