// Reading a batch ahead changes neither the order nor what is said of a source that fails.

#include "train/epoch_batches.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/messages.h"

namespace espalier {
namespace {

using test::expect_says;
using test::message_of;

/// Batches that hold their epoch and number.
struct Numbered final : BatchSource {
  int64_t promised = 4, present = 4;
  int epoch = 0;
  int64_t position = 0;

  void start(int e, int64_t first) override { epoch = e, position = first; }
  bool next(Batch& batch) override {
    if (position == present) return false;
    batch.samples = {epoch, static_cast<int>(position++)};
    return true;
  }
  int64_t batches() const override { return promised; }
  int64_t samples() const override { return promised; }
  uint64_t hash() const override { return 0; }
};

void nothing(const Batch&) {}

TEST(EpochBatches, AreTheSameReadAheadOrNot) {
  for (const bool ahead : {false, true}) {
    Numbered source;
    EpochBatches batches(source);
    for (const auto& [epoch, first] : {std::pair{3, 0}, {4, 2}}) {
      batches.start(epoch, first);
      for (int i = first; i < batches.count(); ++i) {
        EXPECT_EQ(batches.next().samples, (std::vector{epoch, i}));
        if (ahead) batches.read_ahead(nothing);
      }
      EXPECT_EQ(source.position, 4) << "nothing is read beyond the epoch";
    }
  }
}

TEST(EpochBatches, ReadOneAheadAndHandItOver) {
  Numbered source;
  EpochBatches batches(source);
  batches.start(0, 0);
  batches.next();
  std::vector<int> staged;
  const auto stage = [&](const Batch& b) { staged.push_back(b.samples[1]); };
  batches.read_ahead(stage);
  batches.read_ahead(stage);
  EXPECT_EQ(staged, std::vector{1}) << "one is enough";
}

TEST(EpochBatches, ANewStartForgetsWhatWasRead) {
  Numbered source;
  EpochBatches batches(source);
  batches.start(0, 0);
  batches.read_ahead(nothing);
  batches.start(1, 2);
  EXPECT_EQ(batches.next().samples, (std::vector{1, 2}));
}

TEST(EpochBatches, AFailureIsSaidWhenItsTurnComes) {
  Numbered source;
  EpochBatches batches(source);
  batches.start(0, 0);
  batches.read_ahead([](const Batch&) { fail("a bad label"); });
  expect_says(message_of([&] { batches.next(); }), "a bad label");
  batches.start(1, 0);
  EXPECT_EQ(batches.next().samples, (std::vector{1, 0})) << "and forgotten with the epoch";
}

TEST(EpochBatches, OneThatFindsNoMemoryOnTheDeviceIsGivenAllTheSame) {
  Numbered source;
  EpochBatches batches(source);
  batches.start(0, 0);
  batches.read_ahead([](const Batch&) { throw OutOfMemory("full"); });
  EXPECT_EQ(batches.next().samples, (std::vector{0, 0}));
}

TEST(EpochBatches, ASourceThatEndsEarlyIsAnErrorAtThatBatch) {
  Numbered source;
  source.present = 1;
  EpochBatches batches(source);
  batches.start(6, 0);
  batches.next();
  batches.read_ahead(nothing);
  expect_says(message_of([&] { batches.next(); }),
              "the data ended after 1 batches of epoch 7, 4 were promised");
}

TEST(EpochBatches, ASourceOfNoBatchIsRefused) {
  Numbered source;
  source.promised = 0;
  expect_says(message_of([&] { EpochBatches{source}; }), "fills no batch");
}

TEST(EpochBatches, CountWhatTheyWaitedUntilAsked) {
  Numbered source;
  EpochBatches batches(source);
  batches.start(0, 0);
  batches.next();
  EXPECT_GT(batches.take_waited(), 0);
  EXPECT_EQ(batches.take_waited(), 0);
}

}  // namespace
}  // namespace espalier
