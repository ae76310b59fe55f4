#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "datasets/labelled_image.h"

namespace espalier {

/// A picture after the transforms that are not random, and what metrics need of its file.
struct PreparedImage {
  LabelledImage sample;
  int file_width = 0, file_height = 0;
  Mask file_mask;  ///< only where annotations are asked for

  int64_t bytes() const {
    return static_cast<int64_t>(sample.image.pixels.size() + sample.mask.classes.size() +
                                file_mask.classes.size() + sample.boxes.size() * sizeof(ObjectBox));
  }
};

/// Prepared pictures by their number in the data set. Filled until the budget is spent, never emptied: which
/// ones are in it changes the speed and nothing else. Any thread may ask and offer.
class ImageCache {
 public:
  ImageCache(size_t samples, int64_t budget) : slots_(budget > 0 ? samples : 0), left_(budget) {}
  ~ImageCache() {
    for (auto& slot : slots_) delete slot.load();
  }
  /// nullptr when it is not there; else valid as long as the cache.
  const PreparedImage* find(int sample) const {
    return slots_.empty() ? nullptr : slots_[sample].load(std::memory_order_acquire);
  }
  void offer(int sample, const PreparedImage& image) {
    if (slots_.empty()) return;
    const int64_t bytes = image.bytes();
    if (left_.fetch_sub(bytes) < bytes) {
      left_.fetch_add(bytes);
      return;
    }
    const ExactPixels exact;
    const auto* copy = new PreparedImage(image);
    const PreparedImage* none = nullptr;
    if (!slots_[sample].compare_exchange_strong(none, copy, std::memory_order_release)) {
      left_.fetch_add(bytes);
      delete copy;
    }
  }

 private:
  std::vector<std::atomic<const PreparedImage*>> slots_;
  std::atomic<int64_t> left_;
};

}  // namespace espalier
