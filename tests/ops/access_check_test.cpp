// What the emulator says of kernels whose result depends on the order of threads.

#include "support/access_check.h"

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <vector>

#include "kernels/warpgroup.h"
#include "support/emulator.h"
#include "support/messages.h"

namespace espalier::test {
namespace {

using kernels::warp::block;
using kernels::warp::thread;

#ifdef __SANITIZE_ADDRESS__
#define ESPALIER_WATCHED_TEST(name) TEST(AccessCheck, DISABLED_##name)  // the address sanitizer has its place
#else
#define ESPALIER_WATCHED_TEST(name) TEST(AccessCheck, name)
#endif

constexpr int kThreads = 128;

/// What is said of a kernel in each schedule; empty where nothing is.
std::vector<std::string> said_of(const std::function<void()>& kernel, int blocks = 1) {
  std::vector<std::string> said;
  for (const Schedule schedule : {Schedule::kForwardLate, Schedule::kBackwardEarly}) try {
      emulate({.grid = {blocks, 1, 1}, .threads = kThreads, .shared_bytes = 64 * 1024}, schedule, kernel);
      said.push_back("");
    } catch (const std::runtime_error& e) {
      said.push_back(e.what());
    }
  return said;
}
void expect_said(const std::function<void()>& kernel, const std::string& what, int blocks = 1) {
  for (const std::string& said : said_of(kernel, blocks)) expect_says(said, what);
}
void expect_nothing_said(const std::function<void()>& kernel, int blocks = 1) {
  for (const std::string& said : said_of(kernel, blocks)) EXPECT_EQ(said, "");
}

volatile float* shared() { return reinterpret_cast<volatile float*>(kernels::warp::shared()); }
int neighbour() { return (thread() + 1) % kThreads; }

ESPALIER_WATCHED_TEST(AReadNeedsABarrierAfterTheWrite) {
  const auto kernel = [](bool waits) {
    return [waits] {
      shared()[thread()] = 1;
      if (waits) kernels::warp::barrier();
      (void)shared()[neighbour()];
    };
  };
  expect_nothing_said(kernel(true));
  expect_said(kernel(false), "no barrier between");
  expect_said(kernel(false), "(addr2line");
}

ESPALIER_WATCHED_TEST(AWriteNeedsABarrierAfterTheRead) {
  const auto kernel = [](bool waits) {
    return [waits] {
      shared()[thread()] = 1;
      kernels::warp::barrier();
      (void)shared()[neighbour()];
      if (waits) kernels::warp::barrier();
      shared()[thread()] = 2;
    };
  };
  expect_nothing_said(kernel(true));
  expect_said(kernel(false), "no barrier between");
}

/// Warps do not keep step: a shuffle is no barrier.
ESPALIER_WATCHED_TEST(LanesOfAWarpAreNoException) {
  expect_said(
      [] {
        shared()[thread()] = 1;
        kernels::warp::shuffle_xor(1.0f, 1);
        (void)shared()[thread() ^ 1];
      },
      "no barrier between");
}

/// The same value, even.
ESPALIER_WATCHED_TEST(TwoWritesNeedABarrier) {
  expect_said([] { shared()[0] = 1; }, "and by thread");
}

ESPALIER_WATCHED_TEST(BytesOfAWordAreApart) {
  expect_nothing_said([] { kernels::warp::shared()[thread()] = 1; });
}

ESPALIER_WATCHED_TEST(CountsMayMeetCountsButNoReads) {
  std::vector<uint32_t> count(1);
  expect_nothing_said([&] { kernels::warp::add_count(count.data(), 1); }, 3);
  EXPECT_EQ(count[0], 2u * 3 * kThreads);
  const volatile uint32_t* seen = count.data();
  expect_said(
      [&] {
        kernels::warp::raise(count.data(), 1);
        (void)*seen;
      },
      "no barrier between");
}

ESPALIER_WATCHED_TEST(NothingOrdersBlocks) {
  std::vector<float> memory(3 * kThreads);
  volatile float* all = memory.data();
  expect_nothing_said([&] { all[block().x * kThreads + thread()] = 1; }, 3);
  expect_said([&] { all[thread()] = 1; }, "accessed by one block and written by another", 2);
  expect_said(
      [&] {
        kernels::warp::barrier();
        (void)all[0];
        kernels::warp::barrier();
        if (thread() == 0) all[block().x] = 1;
      },
      "by another", 2);
}

ESPALIER_WATCHED_TEST(LaunchesAreInOrder) {
  std::vector<float> memory(kThreads);
  volatile float* all = memory.data();
  for (int launch = 0; launch < 2; ++launch)
    expect_nothing_said([&] { all[launch ? neighbour() : thread()] = 1; });
}

/// On a GPU anything else is a fault.
TEST(AccessCheck, AWideAccessIsAligned) {
  std::vector<float> memory(8);
  const auto loads_from = [&](int first) { return [&, first] { kernels::warp::load4(&memory[first]); }; };
  expect_nothing_said(loads_from(4));
  expect_said(loads_from(1), "not aligned to its size");
  expect_said(loads_from(2), "not aligned to its size");
}

/// They arrive for the thread that waits; others need the barrier as well.
ESPALIER_WATCHED_TEST(AsynchronousCopiesAreWrites) {
  std::vector<float> memory(4 * kThreads, 1.0f);
  const auto kernel = [&](bool waits) {
    return [&memory, waits] {
      kernels::warp::copy_async<16>(const_cast<float*>(shared()) + 4 * thread(), &memory[4 * thread()], true);
      kernels::warp::commit_copies();
      kernels::warp::wait_copies<0>();
      if (waits) kernels::warp::barrier();
      (void)shared()[4 * neighbour()];
    };
  };
  expect_nothing_said(kernel(true));
  expect_said(kernel(false), "no barrier between");
}

ESPALIER_WATCHED_TEST(TensorCoresSeeWhatIsPublished) {
  using kernels::warp::GroupType;
  const auto kernel = [](bool publishes, bool waits) {
    return [publishes, waits] {
      constexpr int kRows = 128 * kernels::warp::kGroupRowBytes;  // 64 of each operand
      unsigned char* rows = kernels::warp::shared();
      for (int i = thread(); i < kRows; i += kThreads) rows[i] = 0;
      if (publishes) kernels::warp::publish_to_products();
      if (waits) kernels::warp::barrier();
      int32_t sums[32];
      kernels::warp::begin_products();
      kernels::warp::group_multiply<GroupType::kS8, 64>(sums, rows, rows + kRows / 2, 0, false);
      kernels::warp::commit_products();
      kernels::warp::wait_products<0>();
    };
  };
  expect_nothing_said(kernel(true, true));
  expect_said(kernel(false, true), "has not published it");
  expect_said(kernel(true, false), "read by the tensor cores with no barrier");
}

/// Their layout is one of addresses.
TEST(AccessCheck, RowsOfAProductAreAligned) {
  const auto kernel = [](int first) {
    return [first] {
      int32_t sums[32];
      unsigned char* rows = kernels::warp::shared() + first;
      kernels::warp::group_multiply<kernels::warp::GroupType::kS8, 64>(sums, rows, rows, 0, false);
      kernels::warp::commit_products();
      kernels::warp::wait_products<0>();
    };
  };
  expect_nothing_said(kernel(1024));
  expect_said(kernel(512), "not aligned");
}

}  // namespace
}  // namespace espalier::test
