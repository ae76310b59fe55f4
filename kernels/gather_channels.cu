#include "kernels/gather_channels.h"

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

struct GatherChannels {
  int wide, narrow;
  const float* x;
  const int32_t* index;
  float* y;
  template <int>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const float* from = x + row * wide;
    float* to = y + row * narrow + c0;
    for (int c = 0; c < n; ++c) to[c] = from[index[c0 + c]];
  }
};

}  // namespace

void gather_channels(Device device, int64_t rows, int wide, int narrow, const float* x, const int32_t* index,
                     float* y) {
  for_each_tile(device, rows, narrow, GatherChannels{wide, narrow, x, index, y});
}

}  // namespace espalier::kernels
