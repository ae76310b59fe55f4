#include "ops/conv2d.h"

namespace espalier {

std::unique_ptr<Prepared> Conv2d::prepare(const PrepareCtx& ctx) const { return Op::prepare(ctx); }

}  // namespace espalier
