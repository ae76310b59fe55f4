#include "runtime/session.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "kernels/reference_only.h"
#include "models/model_table.h"
#include "passes/example_graphs.h"
#include "support/random_tensor.h"
#include "tensor/allocator.h"

namespace espalier {
namespace {

Graph mobilenet(const char* form = "paper", const char* padding = "symmetric", int size = 64) {
  Graph graph = build_model({.name = "mobilenet_v2",
                             .classes = 11,
                             .options = {{"form", form}, {"padding", padding}, {"width", 0.5}}},
                            size, 1);
  test::randomise(graph, 8);
  return graph;
}

Tensor picture(Shape shape, uint64_t seed = 1) { return test::random_tensor(shape, Device::kCpu, seed); }

void expect_like_graph(const Graph& graph, Session& session, const Tensor& x) {
  SCOPED_TRACE(str(x.shape()));
  test::expect_same(session.run({x}), graph.run({x}));
}

TEST(Session, GivesWhatTheGraphGivesForMobileNetV2) {
  for (const char* form : {"paper", "reference"})
    for (const char* padding : {"symmetric", "tensorflow"}) {
      SCOPED_TRACE(str(form, ' ', padding));
      const Graph graph = mobilenet(form, padding);
      Session session(graph);
      expect_like_graph(graph, session, picture({1, 64, 64, 3}));
      expect_like_graph(graph, session, picture({3, 64, 64, 3}));
      expect_like_graph(graph, session, picture({1, 49, 75, 3}));
    }
}

TEST(Session, GivesWhatTheGraphGivesForBranches) {
  const Graph graph = test::branches(12, 14, 3);
  for (const bool optimise : {true, false}) {
    Session session(graph, {.optimise = optimise});
    expect_like_graph(graph, session, picture({1, 12, 14, 3}));
    expect_like_graph(graph, session, picture({4, 12, 14, 3}));
    expect_like_graph(graph, session, picture({2, 33, 21, 3}));
  }
}

TEST(Session, GivesWhatTheGraphGivesWithReferenceKernels) {
  if (kernels::reference_only()) GTEST_SKIP() << "this is the run with reference kernels";
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command = "ESPALIER_KERNELS=reference '" + program +
                              "' --gtest_filter=Session.GivesWhatTheGraphGivesForBranches >/dev/null 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

TEST(Session, RunsSlicesOfAGraph) {
  const Graph graph = mobilenet();
  const Tensor x = picture({2, 64, 64, 3});
  const Tensor wanted = graph.run({x})[0];
  const int count = static_cast<int>(graph.items.size());
  for (const int cut : {1, 7, 20, 48, count - 1}) {
    Session head(graph.slice(0, cut)), tail(graph.slice(cut, count));
    test::expect_same(tail.run(head.run({x})), {wanted});
  }
}

TEST(Session, SameInputSameBitsWhateverRanBetween) {
  const Graph graph = mobilenet();
  Session session(graph);
  const Tensor a = picture({1, 64, 64, 3}, 1), b = picture({1, 64, 64, 3}, 2);
  const std::vector<float> first = session.run({a})[0].to_vector();
  EXPECT_NE(session.run({b})[0].to_vector(), first);
  EXPECT_EQ(session.run({a})[0].to_vector(), first);
}

TEST(Session, ThreadsDoNotChangeTheBits) {
  if (kernels::reference_only()) GTEST_SKIP() << "promised for prepared kernels";
  const Graph graph = mobilenet();
  Session session(graph);
  const Tensor x = picture({1, 64, 64, 3});
  const kernels::Threads one(1);
  const std::vector<float> alone = session.run({x})[0].to_vector();
  for (const int threads : {2, 3, 4}) {
    const kernels::Threads some(threads);
    EXPECT_EQ(session.run({x})[0].to_vector(), alone) << threads << " threads";
  }
}

TEST(Session, OutputsStayWhereTheyAre) {
  const Graph graph = mobilenet();
  Session session(graph);
  const Tensors& first = session.run({picture({1, 64, 64, 3}, 1)});
  const void* memory = first[0].data();
  EXPECT_EQ(session.run({picture({1, 64, 64, 3}, 2)})[0].data(), memory);
}

TEST(Session, KeepsOutputsThatLaterItemsRead) {
  const Graph graph = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor a = sigmoid(x), b = relu(a), c = conv_bn(s / "c", b, 3, {.kernel = 1});
        return {a, c, x, b, a};
      },
      4, 5, 3, 1);
  for (const bool optimise : {true, false}) {
    Session session(graph, {.optimise = optimise});
    expect_like_graph(graph, session, picture({1, 4, 5, 3}));
  }
}

TEST(Session, ElementwiseChainsRunInPlace) {
  const Graph graph = build_graph(
      [](Scope, const Tensor& x) -> Tensors {
        return {sigmoid(relu(sigmoid(leaky_relu(add(sigmoid(x), x), 0.3f))))};
      },
      16, 16, 4, 1);
  Session session(graph);
  const Tensor x = picture({1, 16, 16, 4});
  expect_like_graph(graph, session, x);
  EXPECT_EQ(session.arena_bytes(), 2 * x.bytes());
}

TEST(Session, TheArenaIsSmallerThanItsValues) {
  const Graph graph = mobilenet("paper", "symmetric", 96);
  Session session(graph);
  session.run({picture({1, 96, 96, 3})});
  int64_t all = 0;
  for (const Graph::Value& v : session.graph().values)
    if (!v.param.defined()) all += v.meta.shape.elements() * 4;
  EXPECT_GT(session.arena_bytes(), 0);
  EXPECT_LT(session.arena_bytes() * 3, all);
}

TEST(Session, PacksWeightsOnceForAllShapes) {
  if (kernels::reference_only()) GTEST_SKIP() << "nothing is packed";
  const Graph graph = mobilenet();
  Session session(graph, {.kept_plans = 2});
  session.run({picture({1, 64, 64, 3})});
  const int64_t packed = session.packed_bytes();
  EXPECT_GT(packed, 0);
  const int64_t before = allocator::statistics(Device::kCpu).in_use;
  session.run({picture({1, 32, 32, 3})});
  EXPECT_EQ(session.packed_bytes(), packed);
  EXPECT_LT(allocator::statistics(Device::kCpu).in_use - before, packed);
}

TEST(Session, KeepsTheLatestPlansAndPlansAgain) {
  const Graph graph = test::branches(12, 14, 3);
  Session session(graph, {.kept_plans = 2});
  for (int round = 0; round < 2; ++round)
    for (const int n : {1, 2, 1, 3, 1}) expect_like_graph(graph, session, picture({n, 12, 14, 3}, n));
}

TEST(Session, LaterChangesOfTheGraphDoNotReachIt) {
  const Graph graph = mobilenet();
  Session session(graph);
  const Tensor x = picture({1, 64, 64, 3});
  const std::vector<float> before = session.run({x})[0].to_vector();
  for (const Graph::Value& v : graph.values)
    if (v.param.defined()) v.param.set(std::vector<float>(static_cast<size_t>(v.param.elements()), 0.5f));
  EXPECT_EQ(session.run({x})[0].to_vector(), before);
  EXPECT_EQ(session.run({picture({2, 64, 64, 3})})[0].shape(),
            (Shape{2, 11}));  // a plan made after the change
  session.run({x});
}

TEST(Session, CanBeMoved) {
  const Graph graph = test::branches(12, 14, 3);
  Session first(graph);
  const Tensor x = picture({1, 12, 14, 3});
  const std::vector<float> before = first.run({x})[0].to_vector();
  Session second(std::move(first));
  EXPECT_EQ(second.run({x})[0].to_vector(), before);
  Session third(mobilenet());
  third = std::move(second);
  EXPECT_EQ(third.run({x})[0].to_vector(), before);
}

TEST(Session, TwoOfThemRunAtOnce) {
  const Graph graph = mobilenet();
  const Tensor x = picture({1, 64, 64, 3});
  Session reference(graph);
  const std::vector<float> wanted = reference.run({x})[0].to_vector();
  std::vector<int> wrong(3, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      kernels::set_threads(2);  // of this thread's teams
      Session own(graph);
      for (int i = 0; i < 5; ++i) wrong[t] += own.run({x})[0].to_vector() != wanted;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::accumulate(wrong.begin(), wrong.end(), 0), 0);
}

TEST(Session, ProfilesEveryItem) {
  const Graph graph = mobilenet();
  Session session(graph);
  const std::vector<double> ms = session.profile({picture({1, 64, 64, 3})});
  ASSERT_EQ(ms.size(), session.graph().items.size());
  for (const double t : ms) EXPECT_GE(t, 0);
  EXPECT_GT(std::accumulate(ms.begin(), ms.end(), 0.0), 0);
}

std::string message(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Session, SaysWhatIsWrongWithItsInputs) {
  const Graph graph = mobilenet();
  Session session(graph);
  const Tensor x = picture({1, 64, 64, 3});
  EXPECT_NE(message([&] { session.run({}); }).find("0 inputs were given, 1 are needed"), std::string::npos);
  EXPECT_NE(message([&] { session.run({x, x}); }).find("2 inputs"), std::string::npos);
  EXPECT_NE(message([&] { session.run({Tensor()}); }).find("has no values"), std::string::npos);
  EXPECT_NE(message([&] { session.run({Tensor::without_data(x.meta())}); }).find("has no values"),
            std::string::npos);
  EXPECT_NE(message([&] {
              session.run({Tensor({1, 64, 64, 3}, Device::kCpu, DType::kU8)});
            }).find("takes f32"),
            std::string::npos);
  EXPECT_NE(message([&] { session.run({picture({1, 64, 64, 4})}); }).find("stem"), std::string::npos);
  EXPECT_NE(message([&] { session.run({picture({64, 64})}); }).find("stem"), std::string::npos);
  // It still runs.
  expect_like_graph(graph, session, x);
  session.run({x});
  EXPECT_NE(message([&] { session.run({Tensor::without_data(x.meta())}); }).find("has no values"),
            std::string::npos);
}

TEST(Session, RefusesWhatItCannotRun) {
  EXPECT_THROW(Session(mobilenet(), {.kept_plans = 0}), Error);
  Graph empty = mobilenet();
  empty.values[empty.find("head/w")].param =
      Tensor::without_data(empty.values[empty.find("head/w")].param.meta());
  EXPECT_NE(message([&] { Session session(empty); }).find("head/w"), std::string::npos);
}

}  // namespace
}  // namespace espalier
