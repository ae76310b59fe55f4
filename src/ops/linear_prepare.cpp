#include "ops/linear.h"

namespace espalier {

std::unique_ptr<Prepared> Linear::prepare(const PrepareCtx& ctx) const { return Op::prepare(ctx); }

}  // namespace espalier
