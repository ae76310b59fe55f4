#pragma once
// Why a GPU cannot be used, in one line that says what to do.

#include <string>

namespace espalier::kernels {

/// Whether the program has CUDA code at all.
bool cuda_is_built();

/// What CUDA said when it was asked for a GPU.
struct GpuFacts {
  bool built = false;           ///< the program has CUDA code
  int driver = 0, runtime = 0;  ///< versions as CUDA gives them: 13010 is 13.1; driver 0: there is none
  int count = 0;                ///< GPUs that answer
  int number = 0;               ///< the one asked for
  std::string error;            ///< what CUDA said where it failed otherwise
  std::string name;             ///< of that GPU
  int major = 0, minor = 0;     ///< its architecture
  bool runs_our_code = false;   ///< the program has code for it
  std::string architectures;    ///< what the program was built for: "80;90"
};

/// Empty when the GPU can be used.
std::string obstacle(const GpuFacts& facts);

}  // namespace espalier::kernels
