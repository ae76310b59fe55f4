#pragma once
// Turns a model function into a Graph by running it once on shapes alone.

#include <functional>

#include "graph/graph.h"

namespace espalier {

/// Records every apply() on this thread while it lives. Nothing is computed.
class Tracing final : public Tracer {
 public:
  Tracing();
  ~Tracing() override;
  Tracing(const Tracing&) = delete;

  Tensor input(const std::string& name, const Meta& meta);
  /// A parameter by its unique name; its contents are given now and owned by the graph.
  Tensor parameter(const std::string& name, const Tensor& contents, bool trainable);
  void record(const OpPtr& op, const Tensors& in, const Tensors& out) override;
  Graph finish(const Tensors& outputs);

 private:
  int value_of(const Tensor& tensor) const;

  Graph graph_;
  Tracer* outer_;
};

}  // namespace espalier
