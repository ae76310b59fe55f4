#pragma once
// A network's first layer in INT8: dense convolutions of at most four channels. A pixel is staged in shared
// memory as one word, zeros where it has no channel and beyond the image; then a tap of the filter is one
// word of a sum, and the tensor cores take eight taps an instruction.

#include "kernels/divisor.h"
#include "kernels/quantized_output.h"

namespace espalier::kernels::tiles {

/// A block computes kRows x kColumns output pixels of up to kRuns * kRun filters; a warp takes every
/// kWarps-th row of pixels. With kEights the output is codes, and filters come in eights.
template <bool kUnsigned, int kStride, int kRowsPerWarp, bool kEights>
struct FewChannels {
  static constexpr int kThreads = 256, kBlocks = 4 - kRowsPerWarp, kWarps = kThreads / warp::kLanes;
  static constexpr int kMostTaps = 7;  ///< of a filter's side
  static constexpr int kRows = kWarps * kRowsPerWarp, kColumns = 16;
  static constexpr int kRun = 32, kRuns = 2;  ///< filters of a warp's sums, and runs of them
  static constexpr int kTiles = kRun / 8;     ///< of an instruction's columns

  static constexpr int patch_side(int outputs) { return (outputs - 1) * kStride + kMostTaps; }
  static constexpr int kPitch = (patch_side(kColumns) + 7) / 8 * 8, kPatchWords = patch_side(kRows) * kPitch;
  /// Words of a filter run for eight taps, as the lanes read them.
  static constexpr int kStepWords = kTiles * warp::kLanes * 2;
  static constexpr int kMostSteps = (kMostTaps * kMostTaps + 7) / 8;
  static constexpr int kStepsAtOnce = 4;  ///< of a thread's loads
  static constexpr int kFilterWords =
      (kRuns * kMostSteps + kStepsAtOnce - 1) / kStepsAtOnce * kStepsAtOnce * kStepWords;
  static constexpr int kSharedBytes = (kFilterWords + kPatchWords + kMostSteps * 8) * 4;

  ConvShape s;
  int P, Q;
  Divisor by_groups, by_columns, by_rows;  ///< of a block's filters, columns and rows
  Divisor by_taps;                         ///< of a filter's row
  const uint8_t* x;
  const uint8_t* w;  ///< [K, R, S, C]
  CodeOutput out;

  FewChannels(const ConvShape& s, const void* x, const int8_t* w, const CodeOutput& out)
      : s(s),
        P(s.P()),
        Q(s.Q()),
        by_groups((s.K + kRuns * kRun - 1) / (kRuns * kRun)),
        by_columns((Q + kColumns - 1) / kColumns),
        by_rows((P + kRows - 1) / kRows),
        by_taps(s.S),
        x(static_cast<const uint8_t*>(x)),
        w(reinterpret_cast<const uint8_t*>(w)),
        out(out) {}
  int64_t blocks() const { return int64_t{s.N} * by_rows.divisor * by_columns.divisor * by_groups.divisor; }

  ESPALIER_SIMT void operator()() const {
    const int tile = by_groups.divide(warp::block().x), line = by_columns.divide(tile),
              n = by_rows.divide(line);
    const int first_filter = (warp::block().x - tile * static_cast<int>(by_groups.divisor)) * kRuns * kRun;
    const int q0 = (tile - line * static_cast<int>(by_columns.divisor)) * kColumns;
    const int p0 = (line - n * static_cast<int>(by_rows.divisor)) * kRows;
    const int left = s.K - first_filter;
    const int runs = left > kRun ? kRuns : 1, steps = (s.R * s.S + 7) / 8;

    const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
    const int group = lane / 4, t = lane % 4;
    CodeOutput::Filters filters[2];
    const auto ask = [&](int column) {
      filters[0] = out.filters(column);
      filters[1] = out.filters(column + 4);
    };
    ask(first_filter + 8 * t);
    stage(n, p0, q0, first_filter, runs * steps);
    warp::barrier();

    for (int run = 0; run < runs; ++run) {
      const int column = first_filter + run * kRun + 8 * t;
      if (run > 0) ask(column);
      int32_t sum[kRowsPerWarp][kTiles][4] = {};
      for (int step = 0; step < steps; ++step)
        multiply(filter_words() + (run * steps + step) * kStepWords, step, number, group, t, sum);
      store(n, p0 + number, q0 + group, column, filters, sum);
    }
  }

 private:
  ESPALIER_SIMT static uint32_t* filter_words() { return reinterpret_cast<uint32_t*>(warp::shared()); }
  ESPALIER_SIMT static uint32_t* patch() { return filter_words() + kFilterWords; }
  /// Where a tap lies from its output's first; taps beyond the filter, whose weights are 0, read the first.
  ESPALIER_SIMT static int* places() { return reinterpret_cast<int*>(patch() + kPatchWords); }

  /// The channels of a pixel or of a filter's tap on their way. They are asked for without a branch, those
  /// that do not exist at an address that does, so that a thread's loads wait together.
  struct Coming {
    uint8_t byte[4];
    bool exists;

    ESPALIER_SIMT void fetch(const uint8_t* from, int64_t at, bool valid, int C) {
      exists = valid;
      const uint8_t* p = from + (valid ? at : 0);
      ESPALIER_UNROLL
      for (int c = 0; c < 4; ++c) byte[c] = p[c < C ? c : 0];
    }
    ESPALIER_SIMT uint32_t word(int C) const {
      const uint32_t low = byte[0] | uint32_t{byte[1]} << 8, high = byte[2] | uint32_t{byte[3]} << 8;
      return exists ? (low | high << 16) & 0xffffffffu >> (32 - 8 * C) : 0;
    }
  };

  /// Every thread asks for all of its pixels before it waits for one.
  ESPALIER_SIMT void stage(int n, int p0, int q0, int first_filter, int filter_steps) const {
    constexpr int kEach = (kPatchWords + kThreads - 1) / kThreads;
    const int lines = (kRows - 1) * kStride + s.R;
    Coming pixel[kEach];
    ESPALIER_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int at = warp::thread() + i * kThreads, row = at / kPitch;
      const int h = p0 * kStride - s.pad.top + row, v = q0 * kStride - s.pad.left + at % kPitch;
      const bool valid = row < lines && h >= 0 && h < s.H && v >= 0 && v < s.W;
      pixel[i].fetch(x, ((int64_t{n} * s.H + h) * s.W + v) * s.C, valid, s.C);
    }
    stage_filters(first_filter, filter_steps);
    if (warp::thread() < kMostSteps * 8) {
      const int tap = warp::thread(), r = by_taps.divide(tap);
      places()[tap] = tap < s.R * s.S ? r * kPitch + tap - r * s.S : 0;
    }
    ESPALIER_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int at = warp::thread() + i * kThreads;
      if (at < kPatchWords) patch()[at] = pixel[i].word(s.C);
    }
  }

  /// A step's words lie in the order tile, lane, half: what Fragments::b says. Filter 4 * column + tile of a
  /// run is in a tile's column, so that a lane's sums of one pixel lie side by side.
  ESPALIER_SIMT void stage_filters(int first_filter, int filter_steps) const {
    static_assert(kStepWords == kThreads);
    const int taps = s.R * s.S, steps = (taps + 7) / 8;
    const int tile = warp::thread() / (2 * warp::kLanes), lane = warp::thread() / 2 % warp::kLanes;
    const int filter = first_filter + 4 * (lane / 4) + tile, tap = lane % 4 + 4 * (warp::thread() % 2);
    for (int step = 0; step < filter_steps; step += kStepsAtOnce) {
      Coming words[kStepsAtOnce];
      ESPALIER_UNROLL
      for (int i = 0; i < kStepsAtOnce; ++i) {
        const bool second = step + i >= steps;
        const int k = second ? filter + kRun : filter, j = (step + i - (second ? steps : 0)) * 8 + tap;
        words[i].fetch(w, (int64_t{k} * taps + j) * s.C, step + i < filter_steps && k < s.K && j < taps, s.C);
      }
      ESPALIER_UNROLL
      for (int i = 0; i < kStepsAtOnce; ++i)
        filter_words()[(step + i) * kStepWords + warp::thread()] = words[i].word(s.C);
    }
  }

  ESPALIER_SIMT void multiply(const uint32_t* words, int step, int number, int group, int t,
                              int32_t (&sum)[kRowsPerWarp][kTiles][4]) const {
    const int lane = warp::thread() % warp::kLanes;
    warp::Word2 b[kTiles];
    ESPALIER_UNROLL
    for (int j = 0; j < kTiles; ++j) b[j] = warp::load2(words + (j * warp::kLanes + lane) * 2);
    const int low = places()[step * 8 + t], high = places()[step * 8 + t + 4];
    ESPALIER_UNROLL
    for (int i = 0; i < kRowsPerWarp; ++i) {
      const uint32_t* pixels = patch() + (number + i * kWarps) * kStride * kPitch + group * kStride;
      const uint32_t a[4] = {pixels[low], pixels[low + 8 * kStride], pixels[high],
                             pixels[high + 8 * kStride]};
      ESPALIER_UNROLL
      for (int j = 0; j < kTiles; ++j) warp::multiply_8bit<kUnsigned>(sum[i][j], a, b[j].v);
    }
  }

  /// A lane has eight filters of two pixels in each of its rows.
  ESPALIER_SIMT void store(int n, int p, int q, int column, const CodeOutput::Filters (&filters)[2],
                           const int32_t (&sum)[kRowsPerWarp][kTiles][4]) const {
    if (column >= s.K) return;
    ESPALIER_UNROLL
    for (int i = 0; i < kRowsPerWarp; ++i) {
      ESPALIER_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int row = p + i * kWarps, at_column = q + 8 * half;
        if (row >= P || at_column >= Q) continue;
        const int64_t at = ((int64_t{n} * P + row) * Q + at_column) * s.K + column;
        int32_t v[2][4];
        ESPALIER_UNROLL
        for (int j = 0; j < 4; ++j) {
          v[0][j] = sum[i][j][2 * half];
          v[1][j] = sum[i][j][2 * half + 1];
        }
        if constexpr (kEights) {
          out.store_eight(filters, at, v);
        } else {
          out.store(filters[0], out.residual(at), at, column, v[0]);
          if (column + 4 < s.K) out.store(filters[1], out.residual(at + 4), at + 4, column + 4, v[1]);
        }
      }
    }
  }
};

inline bool takes_few_channels(const ConvShape& s) {
  constexpr int kMostTaps = FewChannels<true, 1, 1, true>::kMostTaps;
  return s.C <= 4 && s.R <= kMostTaps && s.S <= kMostTaps && (s.stride == 1 || s.stride == 2);
}

/// Taller blocks stage their filters less often, where there are enough of them.
template <class Machine, bool kUnsigned>
void few_channels(Machine& machine, const ConvShape& s, const void* x, const int8_t* w,
                  const CodeOutput& out) {
  constexpr int64_t kBlocksWanted = 512;
  const auto run = [&](const auto& kernel) { machine.launch(kernel, kernel.blocks(), 1); };
  const auto with_stride = [&]<int kStride>() {
    const FewChannels<kUnsigned, kStride, 2, true> tall(s, x, w, out);
    if (!out.eights())
      run(FewChannels<kUnsigned, kStride, 1, false>(s, x, w, out));
    else if (tall.blocks() < kBlocksWanted)
      run(FewChannels<kUnsigned, kStride, 1, true>(s, x, w, out));
    else
      run(tall);
  };
  if (s.stride == 1)
    with_stride.template operator()<1>();
  else
    with_stride.template operator()<2>();
}

}  // namespace espalier::kernels::tiles
