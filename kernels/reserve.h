#pragma once
// Memory that somebody keeps for reuse, for a device that has none left.

#include "kernels/device.h"

namespace espalier::kernels {

/// Before allocate() or allocate_lasting() throw OutOfMemory they call `give_back`, by the thread that asks;
/// true means that it released something, and they try once more.
void set_reserve(bool (*give_back)(Device));

}  // namespace espalier::kernels
