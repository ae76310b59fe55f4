#pragma once
// A data set in memory whose labels are what a model says, so that an untouched model is right about nearly
// all of them.

#include <algorithm>

#include "base/random.h"
#include "graph/graph.h"
#include "models/model_table.h"
#include "passes/example_graphs.h"
#include "support/random_tensor.h"
#include "tasks/batch.h"

namespace espalier::test {

/// Random pictures of one seed, in batches; every `wrong`-th label is off by one.
class ToySource final : public BatchSource {
 public:
  ToySource(const Graph& labeller, int samples, int batch, uint64_t seed = 1, int wrong = 10)
      : batch_(batch), samples_(samples), seed_(seed) {
    const Shape one = labeller.values[labeller.inputs[0]].meta.shape;
    images_ = random_tensor({samples, one[1], one[2], one[3]}, Device::kCpu, seed);
    const Tensor logits = labeller.run({images_})[0];
    const int classes = logits.channels();
    for (int i = 0; i < samples; ++i) {
      const float* row = logits.f32() + static_cast<int64_t>(i) * classes;
      const auto best = static_cast<int>(std::max_element(row, row + classes) - row);
      labels_.push_back(i % wrong == 0 ? (best + 1) % classes : best);
    }
  }

  void start(int, int64_t first_batch) override { at_ = static_cast<int>(first_batch) * batch_; }
  bool next(Batch& batch) override {
    const int count = std::min(batch_, samples_ - at_);
    if (count <= 0) return false;
    ++batches_given;
    Shape shape = images_.shape();
    const int64_t per_image = images_.elements() / samples_;
    shape[0] = count;
    batch = {};
    batch.images = Tensor::from(
        std::span<const float>(images_.f32() + at_ * per_image, static_cast<size_t>(count * per_image)),
        shape);
    batch.targets = {
        Tensor::from(std::span<const int32_t>(labels_.data() + at_, static_cast<size_t>(count)), {count})};
    for (int i = 0; i < count; ++i) batch.samples.push_back(at_ + i);
    at_ += count;
    return true;
  }
  int64_t batches() const override { return (samples_ + batch_ - 1) / batch_; }
  int64_t samples() const override { return samples_; }
  uint64_t hash() const override { return fnv1a(labels_.data(), labels_.size() * sizeof(int32_t), seed_); }

  int batches_given = 0;  ///< how much was read

 private:
  int batch_, samples_, at_ = 0;
  uint64_t seed_;
  Tensor images_;
  std::vector<int32_t> labels_;
};

/// Takes the mean out of the logits, so that the classes are about equally frequent and a damaged network is
/// often wrong.
inline void balance(const Graph& graph) {
  const Shape one = graph.values[graph.inputs[0]].meta.shape;
  const Tensor logits = graph.run({random_tensor({64, one[1], one[2], one[3]}, Device::kCpu, 99)})[0];
  const Tensor& bias =
      graph.values[graph.find(graph.find("head/bias") < 0 ? "classifier/bias" : "head/bias")].param;
  std::vector<float> values = bias.to_vector();
  for (int i = 0; i < 64; ++i)
    for (size_t k = 0; k < values.size(); ++k) values[k] -= logits.f32()[i * values.size() + k] / 64;
  bias.set(values);
}

/// MobileNetV2 of a quarter width on 32 x 32, with weights as trained ones could be.
inline Graph small_mobilenet(uint64_t seed = 1, const char* form = "paper", int classes = 10) {
  Graph graph = build_model({"mobilenet_v2", classes, {{"form", form}, {"width", 0.25}}}, 32, seed);
  randomise(graph, seed);
  balance(graph);
  return graph;
}

/// Two branches that a concat joins, one of them residual.
inline Graph small_concat_network(uint64_t seed = 1) {
  Graph graph = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor a = conv_bn(s / "a", x, 8, {.kernel = 3, .act = Activation::relu6()});
        const Tensor b = conv_bn(s / "b", a, 12, {.kernel = 1, .act = Activation::relu6()});
        const Tensor c = depthwise_bn(s / "c", b, {.kernel = 3, .act = Activation::relu6()});
        const Tensor sum = add(a, conv_bn(s / "d", c, 8, {.kernel = 1}));
        const Tensor e = conv_bn(s / "e", max_pool(sum), 10, {.kernel = 3, .act = Activation::relu()});
        const Tensor joined = concat({resize_nearest_like(e, sum), sum});
        const Tensor f = conv_bn(s / "f", joined, 16, {.kernel = 3, .act = Activation::relu()});
        return {fully_connected(s / "head", global_avg_pool(f), 6)};
      },
      12, 10, 3, seed);
  randomise(graph, seed);
  balance(graph);
  return graph;
}

}  // namespace espalier::test
