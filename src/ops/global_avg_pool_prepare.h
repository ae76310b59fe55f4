#pragma once

#include "ops/op.h"

namespace espalier {

/// The prepared kernel of global_avg_pool, or null where the op's own forward() must do.
std::unique_ptr<Prepared> prepare_global_avg_pool(const PrepareCtx& ctx);

}  // namespace espalier
