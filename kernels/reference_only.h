#pragma once
// Whether the CPU's fast paths are off.

namespace espalier::kernels {

/// True when every kernel runs its shared body: environment ESPALIER_KERNELS=reference, read once, or the
/// last set_reference_only(). Dispatch inside kernels/ asks it and nothing else does.
bool reference_only();

/// Overrides the environment, for tests that hold a fast path against its shared body in one process.
void set_reference_only(bool on);

}  // namespace espalier::kernels
