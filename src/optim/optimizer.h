#pragma once
// How a step moves the parameters. All parameters move in one parallel pass (kernels/optimizer.h).

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace espalier {

namespace kernels {
class SliceTable;
class SharedControl;
struct StepControl;
}  // namespace kernels

/// A trainable tensor, its unique name, and what is special about it.
struct OptimizedParameter {
  std::string name;
  Tensor tensor;           ///< f32; its grad() is what a step reads
  float rate_factor = 1;   ///< times the learning rate
  float decay_factor = 1;  ///< times the weight decay; 0 exempts it
};

/// Which parameters weight decay leaves alone. The reference's classifier decays everything, its detector and
/// segmenter exempt the norms.
struct DecayScope {
  bool norms = true;   ///< decay scales and shifts of batch norms
  bool biases = true;  ///< decay biases of convolutions and linear layers
  bool operator==(const DecayScope&) const = default;
};

/// The trainable parameters of a graph in order of values, handles shared with it.
std::vector<OptimizedParameter> parameters_of(const Graph& graph, const DecayScope& decay = {});

/// Moves parameters against their gradients. Has state, one tensor or more a parameter, saved by name.
class Optimizer {
 public:
  Optimizer(std::vector<OptimizedParameter> parameters, double weight_decay);
  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;

  virtual const char* name() const = 0;
  const std::vector<OptimizedParameter>& parameters() const { return parameters_; }

  Device device() const { return parameters_[0].tensor.device(); }

  /// L2 norm of all gradients together, in double; NaN or infinite as soon as one element is.
  double gradient_norm();
  /// One update with gradients multiplied by `gradient_scale` (clipping), then forgets the gradients.
  /// Parameters that have none stay as they are.
  void step(double rate, double gradient_scale = 1);
  void clear_gradients();
  int64_t steps() const { return steps_; }  ///< taken so far

  /// The same in parts, for steps whose launches are recorded. announce() counts a step and says what it
  /// needs to know; gather() fills a table with the parameters that have a gradient; move() updates them as
  /// the control on the device says.
  void announce(double rate, kernels::StepControl& control);
  void gather(kernels::SliceTable& table) const;
  virtual void move(const kernels::SliceTable& table, const kernels::StepControl* control) const = 0;

  /// Named tensors that a resumed run needs: "velocity/block3/expand/w".
  std::vector<std::pair<std::string, Tensor>> state() const;
  /// Takes what state() gave. Throws Error when a tensor is missing, unknown or of another shape.
  void load_state(const std::map<std::string, Tensor>& state, int64_t steps);

 protected:
  /// Zeros like every parameter; `kind` becomes the first part of their names.
  void add_state(const std::string& kind);
  /// What depends on the number of the step.
  virtual void correct(kernels::StepControl& control) const = 0;

  int64_t steps_ = 0;

 private:
  std::vector<OptimizedParameter> parameters_;
  double weight_decay_;
  std::vector<std::pair<std::string, Tensors>> state_;
  std::unique_ptr<kernels::SliceTable> table_;
  std::unique_ptr<kernels::SharedControl> control_;
};

/// What a recipe says of the optimizer.
struct OptimizerOptions {
  std::string name = "sgd";    ///< one of optimizer_names()
  double momentum = 0.9;       ///< sgd
  double weight_decay = 1e-4;  ///< in [0, 1]
  bool decoupled = false;      ///< sgd: decay the weights themselves instead of adding to the gradient
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  ///< adamw
  DecayScope decay;
  bool operator==(const OptimizerOptions&) const = default;
};

std::vector<std::string> optimizer_names();
/// Throws Error for an unknown name or an impossible value.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, const Graph& graph);

}  // namespace espalier
