#pragma once

#include "optim/optimizer.h"

namespace espalier {

struct SgdOptions {
  double momentum = 0.9;  ///< in [0, 1)
  double weight_decay = 0;
  bool decoupled = false;
};

/// Gradient descent with heavy-ball momentum as PyTorch and Paddle define it:
///   v = momentum * v + (g + weight_decay * w);  w -= rate * v
/// Decoupled (Loshchilov and Hutter, 2019):
///   w -= rate * weight_decay * w;  v = momentum * v + g;  w -= rate * v
class Sgd final : public Optimizer {
 public:
  Sgd(std::vector<OptimizedParameter> parameters, const SgdOptions& options);
  const char* name() const override { return "sgd"; }
  void move(const kernels::SliceTable& table, const kernels::StepControl* control) const override;

 private:
  void correct(kernels::StepControl&) const override {}
  SgdOptions options_;
};

}  // namespace espalier
