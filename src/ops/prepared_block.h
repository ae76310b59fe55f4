#pragma once

#include "ops/op.h"

namespace espalier {

/// One kernel in the place of three that a Session prepared for a dense convolution, a depthwise convolution
/// of its output, and a 1x1 convolution of that one's; null if they are not such a block. Reads and writes
/// the same memory, all of which must be live at once; what lies between the three is lost. The three must
/// outlive it.
std::unique_ptr<CooperativePrepared> join_block(const Prepared& first, const Prepared& depthwise,
                                                const Prepared& last);

}  // namespace espalier
