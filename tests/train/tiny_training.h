#pragma once
// A network and a data set small enough to train in a test.

#include <gtest/gtest.h>

#include <filesystem>

#include "nn/layers.h"
#include "train/loop.h"

namespace espalier::test {

constexpr int kTinySize = 16, kTinyClasses = 3;

/// Runs on one thread: waking others costs more than the whole step of a tiny network.
class SerialTest : public ::testing::Test {
 private:
  kernels::Threads one_{1};
};

/// Convolution, depthwise, a residual, a classifier: 8 channels, batch norms, optionally dropout.
Model tiny_model(uint64_t seed = 1, float dropout = 0);

/// Pictures of noise over a pattern of their class; easy, but not learned in a single step.
class TinySource final : public BatchSource {
 public:
  TinySource(int batches, int batch, uint64_t seed) : batches_(batches), batch_(batch), seed_(seed) {}
  void start(int epoch = 0, int64_t first_batch = 0) override;
  bool next(Batch& batch) override;
  int64_t batches() const override { return batches_; }
  int64_t samples() const override { return int64_t{batches_} * batch_; }
  uint64_t hash() const override { return seed_ ^ hash_; }

  bool same_every_epoch = false;  ///< as an evaluation set is
  uint64_t hash_ = 7;
  float scale = 1;                                       ///< of all pixels
  std::function<void(int epoch, int64_t batch)> before;  ///< called before each batch

 private:
  int batches_, batch_;
  uint64_t seed_;
  int epoch_ = 0;
  int64_t next_ = 0;
};

/// Small but complete: EMA, clipping, warm-up.
TrainOptions tiny_options(const std::filesystem::path& folder = {}, int epochs = 3);

struct TinyRun {
  Model model;
  TrainResult result;
};
/// Trains a tiny model on 6 batches of 8; the evaluation has 2 batches.
TinyRun run_tiny(const TrainOptions& options, float dropout = 0.25f,
                 const std::function<void(int, int64_t)>& before = {});

/// All parameters' bytes, one after another.
std::string bytes_of(const Graph& graph);

}  // namespace espalier::test
