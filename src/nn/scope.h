#pragma once
// Where parameters get names: a model function receives a Scope, divides it with '/', and asks it for
// parameters.

#include <functional>
#include <string>

#include "graph/trace.h"

namespace espalier {

class Random;

/// Fills a fresh parameter. The stream is keyed by the parameter's name, so adding a layer moves no other's
/// numbers.
using Init = std::function<void(std::vector<float>& values, const Shape& shape, Random& random)>;

/// Normal(0, sqrt(2 / fan_in)), fan_in = elements of one output channel (He et al., 2015; the reference's
/// default).
void he_normal(std::vector<float>& values, const Shape& shape, Random& random);
/// Uniform(+-sqrt(6 / (fan_in + fan_out))) for linear weights [K,C] (Glorot and Bengio, 2010).
void xavier_uniform(std::vector<float>& values, const Shape& shape, Random& random);
void zeros(std::vector<float>& values, const Shape& shape, Random& random);
void ones(std::vector<float>& values, const Shape& shape, Random& random);

class Scope {
 public:
  Scope(Tracing& tracing, uint64_t seed) : tracing_(&tracing), seed_(seed) {}

  Scope operator/(const std::string& name) const;
  /// "" at the top.
  const std::string& path() const { return path_; }
  /// A new parameter path()/name.
  Tensor param(const std::string& name, const Shape& shape, const Init& init, bool trainable = true) const;

 private:
  Tracing* tracing_;
  uint64_t seed_;
  std::string path_;
};

/// A network: [N,H,W,C] in, one or more tensors out.
using ModelFunction = std::function<Tensors(Scope, const Tensor& x)>;

/// Traces a model function at one input size (N is 1). All parameters are initialised from the seed.
Graph build_graph(const ModelFunction& model, int height, int width, int channels, uint64_t seed);

}  // namespace espalier
