#include "kernels/kernel_choices.h"

#ifndef ESPALIER_HAS_CUDA

namespace espalier::kernels {

std::string kernel_choices() { return {}; }
bool repeat_kernel_choices(const std::string& choices) { return choices.empty(); }

}  // namespace espalier::kernels

#endif
