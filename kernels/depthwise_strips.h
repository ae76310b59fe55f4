#pragma once
// Which depthwise problems the GPU's 3x3 loops take, and strips of them: what one thread has where four
// channels of two columns are its share.

#include "kernels/conv_shape.h"
#include "kernels/divisor.h"
#include "kernels/warp.h"

namespace espalier::kernels::strips {

constexpr int kFilter = 3, kTaps = kFilter * kFilter, kColumns = 2;

inline bool takes(const ConvShape& s) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return s.R == kFilter && s.S == kFilter && (s.stride == 1 || s.stride == 2) && s.C % 4 == 0 &&
         int64_t{s.N} * (s.H + s.pad.top + 4) * (s.W + s.pad.left + 4) * (s.C / 4) < kMost;
}

/// What a thread works on: four channels of a strip of `rows` rows and two columns of one image.
struct Strip {
  int c, column, row, n;
  bool valid;
};

/// Items in the order channels, columns, rows, images: neighbouring threads read neighbouring memory.
struct Strips {
  Divisor by_channels, by_columns, by_rows;
  int64_t count;
  int length;  ///< rows of one strip

  Strips(int channels, int columns, int rows, int images, int length)
      : by_channels(channels / 4),
        by_columns((columns + kColumns - 1) / kColumns),
        by_rows((rows + length - 1) / length),
        count(int64_t{channels / 4} * by_columns.divisor * by_rows.divisor * images),
        length(length) {}

  ESPALIER_SIMT Strip at(int item) const {
    const int pixel = by_channels.divide(item), line = by_columns.divide(pixel), n = by_rows.divide(line);
    return {(item - pixel * static_cast<int>(by_channels.divisor)) * 4,
            (pixel - line * static_cast<int>(by_columns.divisor)) * kColumns,
            (line - n * static_cast<int>(by_rows.divisor)) * length, n, item < count};
  }
};

/// Threads that keep a large GPU's memory busy; a constant, so that sums do not depend on the device.
constexpr int64_t kThreadsWanted = 256 * 1024;

/// Rows of a strip where every thread has one: as many as leave enough threads, and at least 4, since a strip
/// reads two rows more.
inline int strip_length(int channels, int columns, int rows, int images) {
  const int64_t whole = int64_t{channels / 4} * ((columns + 1) / 2) * images;
  const int64_t cuts = (kThreadsWanted + whole - 1) / whole, length = (rows + cuts - 1) / cuts;
  return static_cast<int>(length < 4 ? 4 : length);
}

inline int64_t blocks_of(const Strips& strips, int threads) { return (strips.count + threads - 1) / threads; }

}  // namespace espalier::kernels::strips
