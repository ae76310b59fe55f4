#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "support/kernel_settings.h"
#include "tensor/allocator.h"

namespace espalier {
namespace {

TEST(Shape, KnowsItsExtents) {
  const Shape s{8, 5, 6, 37};
  EXPECT_EQ(s.axes(), 4);
  EXPECT_EQ(s.elements(), 8 * 5 * 6 * 37);
  EXPECT_EQ(s.back(), 37);
  EXPECT_EQ(str(s), "[8,5,6,37]");
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_NE(s, (Shape{8, 5, 6}));
  EXPECT_THROW(Shape({1, 2, 3, 4, 5}), Error);
}

TEST(Tensor, CopiesShareAndClonesDoNot) {
  const Tensor a = Tensor::full({3}, 1), b = a, c = a.clone();
  a.f32()[1] = 5;
  EXPECT_EQ(b.f32()[1], 5);
  EXPECT_EQ(c.f32()[1], 1);
  EXPECT_TRUE(a.same(b));
  EXPECT_FALSE(a.same(c));
  EXPECT_FALSE(a.sole_owner());
  EXPECT_TRUE(c.sole_owner());
  EXPECT_FALSE(c.detached().sole_owner());
}

TEST(Tensor, ChecksWhatItIsGiven) {
  const std::vector<float> three(3, 1.0f);
  EXPECT_THROW(Tensor::from(three, {4}), Error);
  EXPECT_THROW(Tensor({2, -1}), Error);
  EXPECT_THROW(Tensor::zeros({2}).item(), Error);
  EXPECT_THROW(Tensor::zeros({2}).copy_from(Tensor::zeros({3})), Error);
  EXPECT_THROW(Tensor::zeros({2}, Device::kCpu, DType::kS8).set_requires_grad(), Error);
}

TEST(Tensor, ConvertsEveryTypeToFloat) {
  const Tensor s8({2}, Device::kCpu, DType::kS8), u8({2}, Device::kCpu, DType::kU8),
      bf16({2}, Device::kCpu, DType::kBF16);
  s8.s8()[0] = -127, s8.s8()[1] = 3;
  u8.u8()[0] = 255, u8.u8()[1] = 0;
  static_cast<uint16_t*>(bf16.data())[0] = 0x3F80, static_cast<uint16_t*>(bf16.data())[1] = 0xC040;
  EXPECT_EQ(s8.to_vector(), (std::vector<float>{-127, 3}));
  EXPECT_EQ(u8.to_vector(), (std::vector<float>{255, 0}));
  EXPECT_EQ(bf16.to_vector(), (std::vector<float>{1, -3}));
}

TEST(Tensor, OverUsesMemoryOfOthers) {
  float values[4] = {1, 2, 3, 4};
  {
    const Tensor t = Tensor::over(values, {{4}});
    t.f32()[2] = 9;
    EXPECT_FALSE(t.sole_owner());
  }
  EXPECT_EQ(values[2], 9);
}

TEST(Tensor, FreshOnesAreNaNInTests) {
  const char* fill = std::getenv("ESPALIER_NAN_FILL");
  if (!fill || std::string(fill) != "1") GTEST_SKIP() << "ESPALIER_NAN_FILL is not set";
  const Tensor t({5});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(std::isnan(t.f32()[i]));
}

TEST(Allocator, ReusesWhatWasFreed) {
  const test::ReusedBlocks reused;
  void* first;
  { first = Tensor({1000}).data(); }
  const int64_t calls = allocator::statistics(Device::kCpu).system_calls;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Tensor({1000}).data(), first);
  EXPECT_EQ(allocator::statistics(Device::kCpu).system_calls, calls);
}

TEST(Allocator, CountsWhatIsInUseAndItsPeak) {
  const int64_t before = allocator::statistics(Device::kCpu).in_use;
  allocator::reset_peak(Device::kCpu);
  {
    const Tensor a({1 << 20}), b({1 << 20});
    EXPECT_GE(allocator::statistics(Device::kCpu).in_use, before + (8 << 20));
  }
  EXPECT_EQ(allocator::statistics(Device::kCpu).in_use, before);
  EXPECT_GE(allocator::statistics(Device::kCpu).peak, before + (8 << 20));
  allocator::reset_peak(Device::kCpu);
  EXPECT_EQ(allocator::statistics(Device::kCpu).peak, before);
}

TEST(Allocator, DoesNotWasteALargeBlockOnASmallRequest) {
  { const Tensor large({1 << 22}); }
  const int64_t before = allocator::statistics(Device::kCpu).in_use;
  const Tensor small({1000});
  EXPECT_LT(allocator::statistics(Device::kCpu).in_use - before, 8192);
}

TEST(Allocator, GivesCachedBlocksBackOnRequest) {
  const test::ReusedBlocks reused;
  { const Tensor t({1 << 16}); }
  EXPECT_GT(allocator::statistics(Device::kCpu).cached, 0);
  allocator::release_cached(Device::kCpu);
  EXPECT_EQ(allocator::statistics(Device::kCpu).cached, 0);
}

/// What a memory checker needs, to see reads beyond a tensor and of one that is gone.
TEST(Allocator, GivesEachTensorABlockOfItsOwnSizeWhenAsked) {
  const auto in_use_by = [](int n) {
    const int64_t before = allocator::statistics(Device::kCpu).in_use;
    const Tensor t({n});
    return allocator::statistics(Device::kCpu).in_use - before;
  };
  {
    const test::ReusedBlocks reused;
    EXPECT_GT(in_use_by(1001), 4 * 1001);
  }
  allocator::release_cached(Device::kCpu);
  const test::ExactBlocks exact;
  for (int n : {1, 1001, 1 << 20, (1 << 20) + 1}) EXPECT_EQ(in_use_by(n), 4 * n);
  EXPECT_EQ(allocator::statistics(Device::kCpu).cached, 0);
}

TEST(Allocator, AlignsForVectors) {
  for (int n : {1, 17, 1000, 1 << 20})
    EXPECT_EQ(reinterpret_cast<uintptr_t>(Tensor({n}).data()) % 64, 0u) << n;
}

}  // namespace
}  // namespace espalier
