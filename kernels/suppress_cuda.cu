#include "kernels/cuda_launch.h"
#include "kernels/suppress_loops.h"

namespace espalier::kernels {

void suppress_on_gpu(const SuppressProblem& p, KeptBox* kept, int32_t* counts) {
  if (p.classes > 0) cuda::launch(suppression::SuppressClass{p, kept, counts}, p.classes);
}

}  // namespace espalier::kernels
