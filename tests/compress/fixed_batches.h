#pragma once
// Given batches without labels.

#include "tasks/batch.h"

namespace espalier::test {

struct FixedBatches : BatchSource {
  Tensors images;
  size_t at = 0;
  void start(int, int64_t first) override { at = static_cast<size_t>(first); }
  bool next(Batch& batch) override {
    if (at >= images.size()) return false;
    batch.images = images[at++];
    return true;
  }
  int64_t batches() const override { return static_cast<int64_t>(images.size()); }
  int64_t samples() const override { return batches() * (images.empty() ? 0 : images[0].shape()[0]); }
  uint64_t hash() const override { return 1; }
};

}  // namespace espalier::test
