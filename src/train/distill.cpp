#include "train/distill.h"

#include <cmath>

#include "base/error.h"
#include "ops/autograd.h"
#include "runtime/session.h"

namespace espalier {

namespace {

/// The shapes of a graph's inputs or outputs without the number of images.
std::vector<Shape> shapes_of(const Graph& graph, const std::vector<int>& values) {
  std::vector<Shape> shapes;
  for (const int v : values) {
    shapes.push_back(graph.values[v].meta.shape);
    if (shapes.back().axes() > 0) shapes.back()[0] = 1;
  }
  return shapes;
}

std::string text_of(const std::vector<Shape>& shapes) {
  std::string text;
  for (const Shape& shape : shapes) text += str(text.empty() ? "" : ", ", shape);
  return text;
}

void check_alike(const std::string& teacher, const char* what, const std::vector<Shape>& theirs,
                 const std::vector<Shape>& ours) {
  ESPALIER_CHECK(theirs == ours, "distillation: the ", what, " of the teacher ", teacher, " are ",
                 text_of(theirs), ", those of the network that is trained ", text_of(ours),
                 "; take a teacher of the same classes and picture size");
}

}  // namespace

void LossMix::backward() const {
  Tensors gradients;
  for (size_t i = 0; i < losses.size(); ++i)
    gradients.push_back(Tensor::full(losses[i].shape(), static_cast<float>(shares[i]), losses[i].device()));
  espalier::backward(losses, gradients);
}

Objective::Objective(const Task& task, const DistillOptions& options, const Graph& student, Device device)
    : task_(task), o_(options) {
  if (!o_.teacher) return;
  ESPALIER_CHECK(o_.weight > 0 && o_.weight <= 1, "distillation: weight is ", o_.weight,
                 "; it must lie in (0, 1]");
  ESPALIER_CHECK(o_.temperature > 0 && std::isfinite(o_.temperature), "distillation: temperature is ",
                 o_.temperature, "; it must be positive");
  check_alike(o_.name, "inputs", shapes_of(*o_.teacher, o_.teacher->inputs),
              shapes_of(student, student.inputs));
  check_alike(o_.name, "outputs", shapes_of(*o_.teacher, o_.teacher->outputs),
              shapes_of(student, student.outputs));
  teacher_ = std::make_unique<Session>(o_.teacher->to(device));
}

Objective::~Objective() = default;

Tensors Objective::ask(const Tensor& images) const { return teacher_ ? teacher_->run({images}) : Tensors(); }

LossMix Objective::of(const Tensors& outputs, const Tensors& said, const Batch& batch) const {
  if (!teacher_) return {{task_.loss(outputs, batch)}, {1}};
  const Tensor distance = task_.distillation(outputs, said, batch, o_.temperature);
  if (o_.weight == 1) return {{distance}, {1}};
  return {{task_.loss(outputs, batch), distance}, {1 - o_.weight, o_.weight}};
}

}  // namespace espalier
