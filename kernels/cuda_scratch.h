#pragma once

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels::cuda {

/// What working memory is for; two uses may be alive at once.
enum class ScratchUse {
  kParts,
  kFilters,
  kNormalised,
  kWholeGradient,
  kLibrary,
  kSums,
  kRoundedGradient
};

/// At least `floats` floats on the GPU, contents undefined; valid until the next call with the same use on
/// the same stream, whose work comes after. Memory once handed out is kept to the end of the process, because
/// a captured graph may refer to it. Throws Error when there is none left.
#ifdef ESPALIER_HAS_CUDA
float* scratch(ScratchUse use, int64_t floats);
#else
inline float* scratch(ScratchUse, int64_t floats) {
  return static_cast<float*>(allocate(Device::kCuda, static_cast<size_t>(floats) * sizeof(float)));
}
#endif

}  // namespace espalier::kernels::cuda
