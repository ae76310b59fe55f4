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

void AdamW::update(const kernels::SliceTable& table, double gradient_scale) {
  const double t = static_cast<double>(steps());
  kernels::adamw_step(table, {.beta1 = static_cast<float>(options_.beta1),
                              .beta2 = static_cast<float>(options_.beta2),
                              .eps = static_cast<float>(options_.eps),
                              .gradient_scale = static_cast<float>(gradient_scale),
                              .correction1 = static_cast<float>(1 - std::pow(options_.beta1, t)),
                              .correction2 = static_cast<float>(1 - std::pow(options_.beta2, t))});
}

}  // namespace espalier
