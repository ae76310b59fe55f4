#pragma once
// Sums of shared bodies over many rows, cut in parts, so that a GPU has more threads for them than channels.
// How they are cut depends on the shape alone, and the parts are added up in order. Only .cu files include
// this.

#include "kernels/cuda_scratch.h"
#include "kernels/launch.h"
#include "kernels/scratch.h"

namespace espalier::kernels {

/// Rows in parts of `length`.
struct RowCut {
  int64_t rows, length;

  RowCut(int64_t rows, int64_t least, int64_t most_parts)
      : rows(rows), length((rows + most_parts - 1) / most_parts) {
    if (length < least) length = least;
  }
  int64_t parts() const { return (rows + length - 1) / length; }
  ESPALIER_HD int64_t first(int64_t part) const { return part * length; }
  ESPALIER_HD int64_t last(int64_t part) const {
    return first(part) + length < rows ? first(part) + length : rows;
  }
};

/// out[k] = in[0, k] + in[1, k] + ...; one item is one k.
struct AddParts {
  int64_t parts, columns;
  const float* in;
  float* out;
  ESPALIER_HD void operator()(int64_t k) const {
    float sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += in[part * columns + k];
    out[k] = sum;
  }
};

struct RowPartsMemory;
/// Working memory for parts; valid until the next call on the thread, or on the stream.
inline float* parts_memory(Device device, int64_t floats) {
  return device == Device::kCpu ? scratch<RowPartsMemory>(static_cast<size_t>(floats))
                                : cuda::scratch(cuda::ScratchUse::kParts, floats);
}

/// first(sums) fills sums [parts, columns], which are added up to out [columns].
template <class First>
void sum_in_parts(Device device, int64_t parts, int64_t columns, float* out, const First& first) {
  if (parts == 1) return first(out);
  float* sums = parts_memory(device, parts * columns);
  first(sums);
  for_each(device, columns, AddParts{parts, columns, sums, out}, parts);
}

}  // namespace espalier::kernels
