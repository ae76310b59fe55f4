#pragma once
// Which kernels a process took where several compute the same (autotuner.h), for another process that shall
// repeat its bits.

#include <string>

namespace espalier::kernels {

/// What was taken since the program began, a line each after one that says for which GPU, libraries and state
/// of the kernels; empty where nothing was chosen, as on a CPU.
std::string kernel_choices();

/// Takes the same from here on. Where they were made for another GPU, other libraries or kernels nothing
/// happens, and false comes back; true for empty ones.
bool repeat_kernel_choices(const std::string& choices);

}  // namespace espalier::kernels
