#pragma once
// The tensor cores as the emulator plays them.

#include <vector>

#include "kernels/warpgroup.h"
#include "support/access_check.h"

namespace espalier::test {

/// One product of four warps; `lanes` are what its threads ask for. `check` sees what it reads.
void multiply_group(const std::vector<kernels::warp::emulation::GroupProduct>& lanes, AccessCheck& check);

}  // namespace espalier::test
