#include "kernels/concat.h"

#include <cstring>

#include "kernels/launch.h"

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
  for_each(device, rows, body, width);
}

}  // namespace espalier::kernels
