#include "graph/graph.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "graph/trace.h"
#include "nn/scope.h"
#include "ops/ops.h"

namespace espalier {
namespace {

/// y = relu(x + b) + sigmoid(x + b), with a second output x + b.
Graph diamond() {
  return build_graph(
      [](Scope s, const Tensor& x) {
        const Running place("top");
        const Tensor sum = add(x, (s / "shift").param("b", {1, 2, 3, 4}, ones));
        return Tensors{add(relu(sum), sigmoid(sum)), sum};
      },
      2, 3, 4, 1);
}

std::string message_of(const Graph& g) {
  try {
    g.verify();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Graph, TracesNamesAndShapes) {
  const Graph g = diamond();
  ASSERT_EQ(g.items.size(), 4u);
  EXPECT_EQ(g.items[0].name, "top/add");
  EXPECT_EQ(g.items[3].name, "top/add_2");
  EXPECT_GE(g.find("shift/b"), 0);
  EXPECT_TRUE(g.values[g.find("shift/b")].trainable);
  EXPECT_EQ(g.uses(g.outputs[1]), 3);  // relu, sigmoid, output
  EXPECT_EQ(g.producer(g.outputs[0]), 3);
  EXPECT_EQ(g.producer(g.inputs[0]), -1);
}

TEST(Graph, RunComputesWhatTheFunctionComputes) {
  const Graph g = diamond();
  const Tensors out = g.run({Tensor::full({1, 2, 3, 4}, -1.5f)});
  EXPECT_FLOAT_EQ(out[1].f32()[5], -0.5f);
  EXPECT_FLOAT_EQ(out[0].f32()[5], 1 / (1 + std::exp(0.5f)));
  EXPECT_THROW(g.run({}), Error);
}

TEST(Graph, ErrorsNameThePlace) {
  const Graph g = diamond();
  try {
    g.run({Tensor::full({1, 2, 3, 5}, 1)});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).rfind("in top/add: add: a is f32[1,2,3,5]", 0), 0u) << e.what();
  }
}

TEST(Graph, CloneHasItsOwnParameters) {
  const Graph g = diamond(), copy = g, own = g.clone();
  g.values[g.find("shift/b")].param.f32()[0] = 7;
  EXPECT_EQ(copy.values[copy.find("shift/b")].param.f32()[0], 7);
  EXPECT_EQ(own.values[own.find("shift/b")].param.f32()[0], 1);
}

TEST(Graph, VerifyFindsEachKindOfDamage) {
  Graph g = diamond();
  std::swap(g.items[0], g.items[1]);
  EXPECT_NE(message_of(g).find("not made before it"), std::string::npos);
  g = diamond();
  g.items[1].name = g.items[0].name;
  EXPECT_NE(message_of(g).find("two items are named"), std::string::npos);
  g = diamond();
  g.values[g.outputs[0]].meta.shape = {9};
  EXPECT_NE(message_of(g).find("is recorded as"), std::string::npos);
  g = diamond();
  g.items[2].in[0] = 99;
  EXPECT_NE(message_of(g).find("reads value 99"), std::string::npos);
  g = diamond();
  g.items[2].out[0] = g.items[1].out[0];
  EXPECT_NE(message_of(g).find("exists already"), std::string::npos);
  g = diamond();
  g.values[g.inputs[0]].trainable = true;
  EXPECT_NE(message_of(g).find("trainable but no parameter"), std::string::npos);
  EXPECT_EQ(message_of(diamond()), "");
}

TEST(Graph, CompactDropsWhatNobodyUses) {
  Graph g = diamond();
  g.outputs = {g.outputs[1]};
  g.compact();
  g.verify();
  EXPECT_EQ(g.items.size(), 1u);
  EXPECT_EQ(g.values.size(), 3u);
}

TEST(Graph, SlicesComposeToTheWhole) {
  const Graph g = diamond();
  const Tensor x = Tensor::full({1, 2, 3, 4}, 0.25f);
  const std::vector<float> want = g.run({x})[0].to_vector();
  for (int cut = 1; cut < 4; ++cut) {
    const Graph first = g.slice(0, cut), second = g.slice(cut, 4);
    first.verify();
    second.verify();
    const Tensors middle = first.run({x});
    // The second part asks for its inputs by name.
    Tensors inputs;
    for (int v : second.inputs)
      for (size_t o = 0; o < first.outputs.size(); ++o)
        if (first.values[first.outputs[o]].name == second.values[v].name) inputs.push_back(middle[o]);
    EXPECT_EQ(second.run(inputs)[0].to_vector(), want) << "cut at " << cut;
  }
}

std::vector<std::pair<std::string, Meta>> parameters_of(const Graph& g) {
  std::vector<std::pair<std::string, Meta>> list;
  for (const Graph::Value& v : g.values)
    if (v.param.defined()) list.emplace_back(v.name, v.meta);
  return list;
}

TEST(Graph, JsonKeepsEverythingAndIsStrict) {
  const Graph g = diamond();
  const Json json = graph_to_json(g);
  Graph back = graph_from_json(json, parameters_of(g));
  for (Graph::Value& v : back.values)
    if (v.param.defined()) v.param = g.values[g.find(v.name)].param;
  EXPECT_EQ(back.hash(), g.hash());
  EXPECT_EQ(graph_to_json(back), json);
  Json damaged = json;
  damaged["items"][0][1] = "no_such_op";
  EXPECT_THROW(graph_from_json(damaged, parameters_of(g)), Error);
  damaged = json;
  damaged["items"][1][3]["colour"] = 3;
  EXPECT_THROW(graph_from_json(damaged, parameters_of(g)), Error);
  damaged = json;
  damaged.erase("outputs");
  EXPECT_THROW(graph_from_json(damaged, parameters_of(g)), Error);
}

TEST(Graph, HashFeelsStructureAttributesAndContents) {
  Graph g = diamond();
  const uint64_t before = g.hash();
  EXPECT_EQ(diamond().hash(), before);
  g.values[g.find("shift/b")].param.f32()[3] += 1e-6f;
  EXPECT_NE(g.hash(), before);
}

TEST(Trace, RefusesTensorsFromOutside) {
  const Tensor outside = Tensor::zeros({1, 2, 3, 4});
  EXPECT_THROW(build_graph([&](Scope, const Tensor& x) { return Tensors{add(x, outside)}; }, 2, 3, 4, 1),
               Error);
}

TEST(Trace, RefusesTwoParametersOfOneName) {
  EXPECT_THROW(build_graph(
                   [](Scope s, const Tensor& x) {
                     s.param("b", {1}, ones);
                     return Tensors{add(x, s.param("b", x.shape(), ones))};
                   },
                   2, 3, 4, 1),
               Error);
  EXPECT_EQ(install_tracer(nullptr), nullptr) << "the tracer was left installed";
}

}  // namespace
}  // namespace espalier
