#include "optim/sgd.h"

#include "base/error.h"
#include "kernels/optimizer.h"

namespace espalier {

Sgd::Sgd(std::vector<OptimizedParameter> parameters, const SgdOptions& options)
    : Optimizer(std::move(parameters), options.weight_decay), options_(options) {
  ESPALIER_CHECK(options.momentum >= 0 && options.momentum < 1, "sgd: momentum is ", options.momentum,
                 "; it must lie in [0, 1)");
  add_state("velocity");
}

void Sgd::move(const kernels::SliceTable& table, const kernels::StepControl* control) const {
  kernels::sgd_step(
      table, {.momentum = static_cast<float>(options_.momentum), .decoupled = options_.decoupled}, control);
}

}  // namespace espalier
