#include "nn/scope.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace espalier {

namespace {

/// Elements of one output channel: axis 0 counts filters, but a depthwise [R,S,C] counts them last.
int64_t fan_in(const Shape& shape) {
  return shape.axes() == 3 ? shape[0] * shape[1] : shape.elements() / shape[0];
}

}  // namespace

void he_normal(std::vector<float>& values, const Shape& shape, Random& random) {
  const double deviation = std::sqrt(2.0 / static_cast<double>(fan_in(shape)));
  for (float& v : values) v = static_cast<float>(deviation * random.normal());
}

void xavier_uniform(std::vector<float>& values, const Shape& shape, Random& random) {
  const double limit = std::sqrt(6.0 / static_cast<double>(shape[0] + shape.elements() / shape[0]));
  for (float& v : values) v = static_cast<float>(random.uniform(-limit, limit));
}

void zeros(std::vector<float>& values, const Shape&, Random&) {
  std::fill(values.begin(), values.end(), 0.0f);
}
void ones(std::vector<float>& values, const Shape&, Random&) {
  std::fill(values.begin(), values.end(), 1.0f);
}

Scope Scope::operator/(const std::string& name) const {
  Scope inner = *this;
  inner.path_ = path_.empty() ? name : path_ + "/" + name;
  return inner;
}

Tensor Scope::param(const std::string& name, const Shape& shape, const Init& init, bool trainable) const {
  const std::string full = path_.empty() ? name : path_ + "/" + name;
  Random random(seed_, Purpose::kInit, 0, fnv1a(full.data(), full.size()));
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  init(values, shape, random);
  return tracing_->parameter(full, Tensor::from(values, shape), trainable);
}

Graph build_graph(const ModelFunction& model, int height, int width, int channels, uint64_t seed) {
  Tracing tracing;
  const Tensor x = tracing.input("image", {{1, height, width, channels}});
  return tracing.finish(model(Scope(tracing, seed), x));
}

}  // namespace espalier
