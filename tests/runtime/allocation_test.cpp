#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "kernels/reference_only.h"
#include "models/model_table.h"
#include "runtime/session.h"
#include "support/random_tensor.h"
#include "tensor/allocator.h"

// Counts every `new` of this program.

namespace {

std::atomic<long> news{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  ++news;
  void* memory = alignment > alignof(std::max_align_t)
                     ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
                     : std::malloc(bytes ? bytes : 1);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, 0); }
void* operator new[](std::size_t bytes) { return counted(bytes, 0); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace espalier {
namespace {

TEST(Session, ARunAllocatesNothing) {
  if (kernels::reference_only()) GTEST_SKIP() << "promised for prepared kernels";
  const Graph graph = build_model({.name = "mobilenet_v2", .classes = 11}, 64, 1);
  Session session(graph);
  const Tensors small = {test::random_tensor({1, 64, 64, 3}, Device::kCpu, 1)},
                large = {test::random_tensor({2, 96, 96, 3}, Device::kCpu, 2)};
  for (int i = 0; i < 2; ++i) session.run(small), session.run(large);  // plans, and OpenMP's threads
  const long before = news;
  const int64_t in_use = allocator::statistics(Device::kCpu).in_use,
                calls = allocator::statistics(Device::kCpu).system_calls;
  for (int i = 0; i < 3; ++i) session.run(small), session.run(large);
  EXPECT_EQ(news - before, 0);
  EXPECT_EQ(allocator::statistics(Device::kCpu).in_use, in_use);
  EXPECT_EQ(allocator::statistics(Device::kCpu).system_calls, calls);
  const Tensor counted({4}, Device::kCpu);
  EXPECT_GT(news - before, 0) << "the counter does not count";
}

}  // namespace
}  // namespace espalier
