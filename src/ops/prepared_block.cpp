#include "ops/prepared_block.h"

#include "kernels/block_prepared.h"
#include "ops/prepared_convolution.h"

namespace espalier {

namespace {

struct PreparedBlock final : CooperativePrepared {
  kernels::BlockProblem problem;

  int steps() const override { return kernels::kBlockSteps; }
  using CooperativePrepared::run;
  void run(const kernels::Team& team) override { kernels::block_prepared(problem, team); }
};

}  // namespace

std::unique_ptr<CooperativePrepared> join_block(const Prepared& first, const Prepared& depthwise,
                                                const Prepared& last) {
  const auto* f = dynamic_cast<const PreparedDense*>(&first);
  const auto* d = dynamic_cast<const PreparedDepthwise*>(&depthwise);
  const auto* l = dynamic_cast<const PreparedDense*>(&last);
  if (!f || !d || !l || f->residual || d->residual || f->y != d->x || d->y != l->x ||
      !kernels::is_block(f->shape, d->shape, l->shape))
    return nullptr;
  auto block = std::make_unique<PreparedBlock>();
  block->problem = {
      f->shape,         d->shape,         l->shape, f->act,      d->act, l->act, f->filters.get(),
      d->filters.get(), l->filters.get(), f->x,     l->residual, f->y,   d->y,   l->y};
  return block;
}

}  // namespace espalier
