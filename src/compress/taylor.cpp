#include "compress/taylor.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "ops/autograd.h"

namespace espalier {

namespace {

/// Per channel of the group the sum of w * dL/dw over what reads it.
void add_products(const Graph& graph, const ChannelGroup::Member& member, std::vector<double>& sums) {
  const Tensor weights = graph.values[member.value].param.to(Device::kCpu);
  const Tensor gradient = graph.values[member.value].param.grad().to(Device::kCpu);
  const Shape& shape = weights.shape();
  int64_t outer = 1, inner = 1;
  for (int axis = 0; axis < member.axis; ++axis) outer *= shape[axis];
  for (int axis = member.axis + 1; axis < shape.axes(); ++axis) inner *= shape[axis];
  for (size_t c = 0; c < sums.size(); ++c)
    for (int64_t o = 0; o < outer; ++o) {
      const int64_t at = (o * shape[member.axis] + member.index[c]) * inner;
      for (int64_t i = at; i < at + inner; ++i) sums[c] += double{weights.f32()[i]} * gradient.f32()[i];
    }
}

}  // namespace

ChannelScores taylor_scores(const Graph& graph, const Task& task, BatchSource& source, int64_t batches) {
  ESPALIER_CHECK(batches > 0, "criterion taylor: ", batches, " batches were asked for; at least 1 is needed");
  const Graph own = graph.clone();
  own.require_gradients();
  const std::vector<ChannelGroup> groups = channel_groups(own);
  ChannelScores scores;
  for (const ChannelGroup& group : groups)
    scores[group.name].assign(static_cast<size_t>(group.channels), 0.0);
  Batch batch;
  int64_t used = 0;
  source.start();
  while (used < batches && source.next(batch)) {
    if (interrupt_requested())
      throw Interrupted("criterion taylor: interrupted before its gradients were there");
    ++used;
    for (const Tensor& parameter : own.trainable()) parameter.clear_grad();
    backward(task.loss(own.run({network_images(batch, own.device())}), batch));
    for (const ChannelGroup& group : groups) {
      std::vector<double> sums(static_cast<size_t>(group.channels), 0.0);
      for (const ChannelGroup::Member& member : group.members)
        if (member.reads) add_products(own, member, sums);
      std::vector<double>& score = scores[group.name];
      for (size_t c = 0; c < sums.size(); ++c) score[c] += sums[c] * sums[c];
    }
  }
  ESPALIER_CHECK(used > 0, "criterion taylor: the data set gives no batch to take gradients of");
  for (auto& [name, score] : scores)
    for (double& value : score) value /= static_cast<double>(used);
  return scores;
}

}  // namespace espalier
