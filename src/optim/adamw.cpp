#include "optim/adamw.h"

#include <cmath>

#include "base/error.h"
#include "kernels/optimizer.h"

namespace espalier {

AdamW::AdamW(std::vector<OptimizedParameter> parameters, const AdamWOptions& options)
    : Optimizer(std::move(parameters), options.weight_decay), options_(options) {
  for (const double beta : {options.beta1, options.beta2})
    ESPALIER_CHECK(beta >= 0 && beta < 1, "adamw: beta is ", beta, "; it must lie in [0, 1)");
  ESPALIER_CHECK(options.eps > 0 && std::isfinite(options.eps), "adamw: eps is ", options.eps,
                 "; it must be above 0");
  add_state("mean");
  add_state("square");
}

void AdamW::correct(kernels::StepControl& control) const {
  const double t = static_cast<double>(steps());
  control.correction1 = static_cast<float>(1 - std::pow(options_.beta1, t));
  control.correction2 = static_cast<float>(1 - std::pow(options_.beta2, t));
}

void AdamW::move(const kernels::SliceTable& table, const kernels::StepControl* control) const {
  kernels::adamw_step(table,
                      {.beta1 = static_cast<float>(options_.beta1),
                       .beta2 = static_cast<float>(options_.beta2),
                       .eps = static_cast<float>(options_.eps)},
                      control);
}

}  // namespace espalier
