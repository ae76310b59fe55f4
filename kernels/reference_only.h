#pragma once
// Which of the CPU's fast paths are off.

namespace espalier::kernels {

/// True when every kernel runs its shared body: environment ESPALIER_KERNELS=reference, read once, or the
/// last set_reference_only(). Dispatch inside kernels/ asks it and nothing else does.
bool reference_only();

/// Overrides the environment, for tests that hold a fast path against its shared body in one process.
void set_reference_only(bool on);

/// True when convolutions take direct sums and never winograd.h, whose rounding is larger:
/// ESPALIER_KERNELS=direct, or the last set_direct_only(). Sessions that exist keep what they have.
bool direct_only();
void set_direct_only(bool on);

}  // namespace espalier::kernels
