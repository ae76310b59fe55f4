#pragma once
// The GPU's autotuner. Its file is ESPALIER_TUNING, or by default `espalier/tuning-<GPU>-<versions>.txt` in
// XDG_CACHE_HOME or ~/.cache; either holds for one GPU, CUDA, cuDNN and state of the kernels' sources.
// ESPALIER_AUTOTUNE=off takes the first candidate that fits, always.

#include <initializer_list>
#include <span>

#include "kernels/candidate_results.h"
#include "kernels/conv_shape.h"
#include "kernels/precision.h"

namespace espalier::kernels::cuda {

/// Tunes the problem if that was not done and the current stream is not being captured, and runs it.
/// `outputs` are all that the candidates write.
bool run_fastest(const Autotuner::Problem& problem, std::span<const Candidate> candidates,
                 std::initializer_list<Output> outputs);

/// An output with elements of T; `read` if candidates read it as well.
template <class T>
Output output(T* y, int64_t elements, bool read = false) {
  return {y, elements, sizeof(T) == 2, read};
}

/// The numbers of a problem: what is computed, with which operands, with which epilogue, and the shape.
Autotuner::Problem problem_of(int operation, int operands, const ConvShape& shape, int variant);

/// The same of operands that are T in memory.
template <class T>
Autotuner::Problem problem_of(int operation, const ConvShape& shape, int variant) {
  constexpr int kStoredBf16 = 3;  // after those of Precision
  return problem_of(operation, sizeof(T) == 4 ? static_cast<int>(precision()) : kStoredBf16, shape, variant);
}

/// For benches: only candidates of this name run from now on, all again with null.
void force_candidate(const char* name);
/// Whether the forced candidate took the problem that `work` runs. Where it does not, nothing is computed.
bool forced_ran(const std::function<void()>& work);

}  // namespace espalier::kernels::cuda
