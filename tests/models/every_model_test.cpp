// What must hold for every model there is.

#include <gtest/gtest.h>

#include "graph/channel_groups.h"
#include "io/model_file.h"
#include "models/model_table.h"
#include "passes/prepare_for_training.h"
#include "passes/quantize.h"
#include "passes/quantized_network.h"
#include "passes/remove_channels.h"
#include "runtime/session.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace espalier::test {
namespace {

/// Narrow where that is an option, with numbers that a trained one could have.
Graph small(const ModelEntry& entry) {
  ModelSpec spec{.name = entry.name, .classes = 3, .options = Json::object()};
  if (entry.options.contains("width")) spec.options["width"] = 0.25;
  Graph graph = build_model(spec, 64, 1);
  randomise(graph, 3);
  return graph;
}

Tensor pictures() { return random_tensor({2, 64, 64, 3}, Device::kCpu, 4); }

/// A copy in which nobody reads these channels: what removing them means.
Graph unread(const Graph& graph, const std::vector<Removal>& removals) {
  Graph copy = graph.clone();
  for (const Removal& removal : removals)
    for (const ChannelGroup::Member& m : removal.group.members) {
      if (!m.reads) continue;
      const Tensor& w = copy.values[m.value].param;
      int64_t outer = 1, inner = 1;
      for (int a = 0; a < m.axis; ++a) outer *= w.shape()[a];
      for (int a = m.axis + 1; a < w.shape().axes(); ++a) inner *= w.shape()[a];
      for (const int c : removal.channels)
        for (int64_t o = 0; o < outer; ++o)
          std::fill_n(w.f32() + (o * w.shape()[m.axis] + m.index[c]) * inner, inner, 0.0f);
    }
  return copy;
}

TEST(EveryModel, LosesChannelsAsIfNobodyReadThem) {
  for (const ModelEntry& entry : model_table()) {
    SCOPED_TRACE(entry.name);
    const Graph graph = small(entry);
    std::vector<Removal> removals;
    for (const ChannelGroup& group : channel_groups(graph)) {
      std::vector<int> every_other;
      for (int c = 1; c < group.channels; c += 2) every_other.push_back(c);
      removals.push_back({group, every_other});
    }
    EXPECT_GT(removals.size(), 5u) << "there is little that can go";
    Graph cut = graph;
    remove_channels(cut, removals);
    const NoGrad no_grad;
    expect_same_outputs(unread(graph, removals), cut, pictures());
  }
}

TEST(EveryModel, RunsFromItsFileAndInASessionAsItIs) {
  const TemporaryDirectory folder;
  for (const ModelEntry& entry : model_table()) {
    SCOPED_TRACE(entry.name);
    const Graph graph = small(entry);
    const NoGrad no_grad;
    const Tensors want = graph.run({pictures()});
    save_model(folder.path() / "model.safetensors", {.graph = graph, .task = entry.task});
    const Graph back = load_model(folder.path() / "model.safetensors").graph;
    EXPECT_EQ(back.hash(), graph.hash());
    EXPECT_EQ(back.run({pictures()})[0].to_vector(), want[0].to_vector());
    Session session(back);
    expect_same(session.run({pictures()}), want);
  }
}

TEST(EveryModel, TrainsPreparedAsItIs) {
  for (const ModelEntry& entry : model_table()) {
    SCOPED_TRACE(entry.name);
    const Graph graph = small(entry);
    Graph prepared = graph.clone();
    prepare_for_training(prepared, Device::kCpu);
    const TrainingMode training;
    const NoGrad no_grad;
    const Tensors got = prepared.run({pictures()}), want = graph.clone().run({pictures()});
    for (size_t i = 0; i < want.size(); ++i)  // norms over few pixels magnify what rounding does
      EXPECT_LT(relative_error(got[i].to_vector(), want[i].to_vector()), 0.01) << "output " << i;
  }
}

TEST(EveryModel, RunsInInt8) {
  for (const ModelEntry& entry : model_table()) {
    SCOPED_TRACE(entry.name);
    const Graph fp32 = prepare_for_quantization(small(entry));
    const NoGrad no_grad;
    const Graph int8 = quantize(fp32, ranges_of(fp32, pictures()));
    const Tensors want = fp32.run({pictures()}), simulated = int8.run({pictures()});
    Session session(int8);
    const Tensors& ran = session.run({pictures()});
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_LT(relative_error(simulated[i].to_vector(), want[i].to_vector()), 0.3) << "output " << i;
      // What stays in FP32 rounds in its own order, which may move a code.
      EXPECT_LT(relative_error(ran[i].to_vector(), simulated[i].to_vector()), 0.05) << "output " << i;
    }
  }
}

}  // namespace
}  // namespace espalier::test
