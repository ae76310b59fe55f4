#pragma once
// Means of INT8 codes over an image's pixels, for the GPU. Sums are exact, so any order gives the shared
// body's bits.

#include "kernels/quantized_words.h"

namespace espalier::kernels::channels {

/// y[n, c] = round(sum over pixels of x[n, pixel, c] / pixels). A block has 32 channels of one image,
/// block.z; eight of its threads share a pixel.
struct CodeMeans {
  static constexpr int kThreads = 256, kBlocks = 4, kWords = 8, kChannels = 4 * kWords;
  static constexpr int kSlices = kThreads / kWords, kAtOnce = 4;
  static constexpr int kSharedBytes = kSlices * kChannels * 4;

  int pixels, C;
  Code code;
  const uint8_t* x;
  uint8_t* y;

  int64_t blocks() const { return (C + kChannels - 1) / kChannels; }

  ESPALIER_SIMT void operator()() const {
    const int word = warp::thread() % kWords, slice = warp::thread() / kWords;
    const int first = warp::block().x * kChannels, c = first + 4 * word;
    const int64_t image = int64_t{warp::block().z} * pixels;
    int32_t sum[4] = {};
    if (c < C)
      for (int pixel = slice; pixel < pixels; pixel += kAtOnce * kSlices) {
        uint32_t words[kAtOnce] = {};  // loads wait together
        ESPALIER_UNROLL
        for (int i = 0; i < kAtOnce; ++i)
          if (pixel + i * kSlices < pixels)
            words[i] = *reinterpret_cast<const uint32_t*>(x + (image + pixel + i * kSlices) * C + c);
        ESPALIER_UNROLL
        for (int i = 0; i < kAtOnce; ++i) ESPALIER_UNROLL
        for (int k = 0; k < 4; ++k) sum[k] += code_of(words[i], code, k);
      }
    int32_t* partial = reinterpret_cast<int32_t*>(warp::shared());
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) partial[slice * kChannels + 4 * word + k] = sum[k];
    warp::barrier();
    const int channel = warp::thread();
    if (channel >= kChannels || first + channel >= C) return;
    int32_t total = 0;
    ESPALIER_UNROLL
    for (int i = 0; i < kSlices; ++i) total += partial[i * kChannels + channel];
    const float mean = static_cast<float>(total) / static_cast<float>(pixels);
    y[int64_t{warp::block().z} * C + first + channel] = static_cast<uint8_t>(static_cast<int>(rintf(mean)));
  }
};

template <class Machine>
bool code_means(Machine& machine, int N, int pixels, int C, Code code, const void* x, void* y) {
  constexpr int kMostImages = 65535;  // of a grid
  if (C % 4 || N > kMostImages || code == Code::kF32) return false;
  const CodeMeans kernel{pixels, C, code, static_cast<const uint8_t*>(x), static_cast<uint8_t*>(y)};
  machine.launch(kernel, kernel.blocks(), N);
  return true;
}

}  // namespace espalier::kernels::channels
