#include "compress/crew.h"

#include <gtest/gtest.h>

#include <latch>
#include <memory>

#include "base/error.h"
#include "kernels/device.h"
#include "support/messages.h"

namespace espalier {
namespace {

TEST(Crew, JobsRunBesideOneAnother) {
  Crew crew(4);
  std::latch all(4);  // a job that waited for its turn would keep the others waiting
  for (int i = 0; i < 4; ++i) crew.start(1, [&] { all.arrive_and_wait(); });
  crew.wait();
  EXPECT_EQ(crew.free(), 4);
}

TEST(Crew, AJobsKernelsUseItsThreadsAndTheCallersTheirOwn) {
  const kernels::Threads mine(2);
  Crew crew(5);
  int seen = 0, free = 0;
  std::latch looked(1);
  crew.start(3, [&] {
    seen = kernels::threads();
    looked.wait();
  });
  free = crew.free();
  looked.count_down();
  crew.wait();
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(free, 2);
  EXPECT_EQ(kernels::threads(), 2);
}

TEST(Crew, WhatAJobCapturedIsFreeBeforeItsThreadsAre) {
  Crew crew(1);
  for (int i = 0; i < 50; ++i) {
    auto held = std::make_shared<int>(i);
    const std::weak_ptr<int> watched = held;
    crew.start(1, [held = std::move(held)] {});
    crew.wait_until([](int free) { return free == 1; });
    EXPECT_TRUE(watched.expired());
  }
}

TEST(Crew, WaitingForWhatNoJobCanBringEnds) {
  Crew crew(2);
  crew.wait_until([](int) { return false; });
  int asked = 0;
  crew.start(1, [] {});
  crew.wait_until([&](int) { return ++asked > 5; });
  EXPECT_EQ(crew.free(), 2) << "the only job has ended";
}

TEST(Crew, ThrowsTheFirstErrorWhenAllJobsHaveEnded) {
  Crew crew(2);
  bool ended = false;
  crew.start(1, [&] {
    while (!crew.failed()) std::this_thread::yield();
    ended = true;
  });
  crew.start(1, [] { fail("the disk is full"); });
  EXPECT_TRUE(test::contains(test::message_of([&] { crew.wait(); }), "the disk is full"));
  EXPECT_TRUE(ended);
  EXPECT_FALSE(crew.failed()) << "the next jobs begin anew";
  EXPECT_EQ(crew.free(), 2);
  crew.start(2, [&] { ended = false; });
  crew.wait();
  EXPECT_FALSE(ended);
}

TEST(Crew, JobsSeeThatTheirOwnerHasFailed) {
  bool ended = false;
  const auto owner = [&] {
    Crew crew(2);
    crew.start(1, [&] {
      while (!crew.failed()) std::this_thread::yield();
      ended = true;
    });
    fail("no more batches");
  };
  EXPECT_THROW(owner(), Error);
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace espalier
