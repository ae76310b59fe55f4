#pragma once

#include "optim/optimizer.h"

namespace espalier {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999;  ///< in [0, 1)
  double eps = 1e-8;
  double weight_decay = 0.01;
};

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2), t counting from 1:
///   w -= rate * weight_decay * w;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
///   w -= rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
class AdamW final : public Optimizer {
 public:
  AdamW(std::vector<OptimizedParameter> parameters, const AdamWOptions& options);
  const char* name() const override { return "adamw"; }
  void move(const kernels::SliceTable& table, const kernels::StepControl* control) const override;

 private:
  void correct(kernels::StepControl& control) const override;
  AdamWOptions options_;
};

}  // namespace espalier
