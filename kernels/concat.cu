#include "kernels/concat.h"

#include <cstring>

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/pixel_maps_cuda.h"

namespace espalier::kernels {

namespace {

/// One item is one row.
struct CopyChannels {
  int64_t from_stride, to_stride, count;  // bytes
  const char* from;
  char* to;
  ESPALIER_HD void operator()(int64_t row) const {
    memcpy(to + row * to_stride, from + row * from_stride, static_cast<size_t>(count));
  }
};

}  // namespace

void copy_channels(Device device, int64_t rows, int width, int bytes, const void* from, int from_channels,
                   int from_first, void* to, int to_channels, int to_first) {
  const CopyChannels body{int64_t{from_channels} * bytes, int64_t{to_channels} * bytes,
                          int64_t{width} * bytes,
                          static_cast<const char*>(from) + int64_t{from_first} * bytes,
                          static_cast<char*>(to) + int64_t{to_first} * bytes};
  if (fast_on_cuda(device) &&
      cuda::copy_rows(rows, body.count, body.from, body.from_stride, body.to, body.to_stride))
    return;
  for_each(device, rows, body, width);
}

}  // namespace espalier::kernels
