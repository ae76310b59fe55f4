#pragma once
// Knowledge distillation: the network that is trained also learns what another one says about the same
// pictures.

#include <memory>
#include <string>

#include "graph/graph.h"
#include "tasks/task.h"

namespace espalier {

class Session;

struct DistillOptions {
  std::shared_ptr<const Graph> teacher;  ///< FP32 or INT8; null: no distillation
  std::string name, hash;  ///< of the teacher: for messages; a checkpoint of another hash is refused
  double weight = 0.5;     ///< w in (1 - w) * (the task's loss) + w * (distance from the teacher), in (0, 1]
  double temperature = 4;  ///< what logits are divided by before they are compared, above 0
};

/// Losses and what each counts.
struct LossMix {
  Tensors losses;
  std::vector<double> shares;

  void backward() const;  ///< of the weighted sum
};

/// What a training minimises: the task's loss alone or mixed with the distance from a teacher, which runs in
/// a Session and so without noise, statistics of batches and history.
class Objective {
 public:
  /// Throws Error for impossible options and for a teacher whose inputs or outputs are not the student's.
  Objective(const Task& task, const DistillOptions& options, const Graph& student, Device device);
  ~Objective();

  /// What the teacher says about the images, valid until the next call; nothing without a teacher.
  Tensors ask(const Tensor& images) const;
  /// `said` is what the teacher said about what the student has seen. The student's outputs are not read
  /// again after backward().
  LossMix of(const Tensors& outputs, const Tensors& said, const Batch& batch) const;

 private:
  const Task& task_;
  const DistillOptions& o_;
  std::unique_ptr<Session> teacher_;
};

}  // namespace espalier
