#pragma once

namespace espalier::kernels {

/// True if ESPALIER_KERNELS=reference is set: every fast path is off and the shared bodies run. Read once.
bool reference_only();

}  // namespace espalier::kernels
