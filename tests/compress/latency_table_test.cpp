// The table's arithmetic, with layers whose "time" is made up, so that what it must predict is known.

#include "compress/latency_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "compress/prune.h"
#include "compress/toy.h"
#include "io/file.h"
#include "runtime/session.h"
#include "support/messages.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

using test::contains;
using test::message_of;

/// What a layer "takes": its multiply-accumulates, which are a product of widths, and something for what it
/// reads.
double made_up_ms(const Graph& graph) {
  double ms = 1e-6 * static_cast<double>(cost(graph).macs);
  for (const Graph::Item& item : graph.items)
    for (const int v : item.in) ms += 1e-9 * static_cast<double>(graph.values[v].meta.shape.elements());
  return ms;
}

struct LatencyTableTest : ::testing::Test {
  test::TemporaryDirectory folder;
  std::filesystem::path file = folder.path() / "latency_table.json";
  Json machine = {{"threads", 1}, {"processor", "made up"}};
  int layers_timed = 0, networks_timed = 0;

  LatencyTable table(const Graph& graph) {
    return LatencyTable(graph, file, machine,
                        {.layer =
                             [this](const Graph& part) {
                               ++layers_timed;
                               part.verify();
                               Session session(part);  // a layer must run as it is
                               Tensors inputs;
                               for (const int v : part.inputs)
                                 inputs.push_back(Tensor::zeros(part.values[v].meta.shape));
                               session.run(inputs);
                               return made_up_ms(part);
                             },
                         .network =
                             [this](const Graph& whole) {
                               ++networks_timed;
                               return 3 * made_up_ms(whole);
                             }});
  }

  static std::vector<int> full(const Graph& graph) {
    std::vector<int> kept;
    for (const ChannelGroup& group : channel_groups(graph)) kept.push_back(group.channels);
    return kept;
  }
};

Graph network(const char* name, Json options = Json::object()) {
  Graph graph = build_model({name, 5, std::move(options)}, 64, 1);
  test::randomise(graph, 1);
  return graph;
}

/// The graph with so many channels, as pruning makes it.
Graph cut_to(const Graph& graph, const std::vector<int>& kept) {
  PruningPlan plan{.criterion = "l1"};
  const std::vector<ChannelGroup> groups = channel_groups(graph);
  for (size_t g = 0; g < groups.size(); ++g)
    plan.groups.push_back({.name = groups[g].name, .before = groups[g].channels, .kept = kept[g]});
  return prune(graph, plan);
}

TEST_F(LatencyTableTest, ExactWhereTimesAreProductsOfWidths) {
  // Linear along every group between the points, so any widths must come out exactly, on every model.
  for (const auto& [name, options] : {std::pair<const char*, Json>{"mobilenet_v2", {{"width", 0.5}}},
                                      {"yolov3_mobilenet_v1", Json::object()},
                                      {"unet", Json::object()}}) {
    SCOPED_TRACE(name);
    const Graph graph = network(name, options);
    file = folder.path() / (std::string(name) + ".json");
    const LatencyTable t = table(graph);
    const double whole = made_up_ms(Session(graph).graph());
    EXPECT_NEAR(t.full_ms(), 3 * whole, 1e-9 * whole);
    EXPECT_NEAR(t.ms(full(graph)), 3 * whole, 1e-9 * whole);
    for (const uint64_t seed : {1, 2, 3}) {
      Random random(seed, Purpose::kTest);
      std::vector<int> kept = full(graph);
      for (int& k : kept) k = std::max(std::min(k, (k + 7) / 8 * 8 / 8 * 2 + 8), k - random.below(k * 7 / 8));
      const double want = 3 * made_up_ms(Session(cut_to(graph, kept)).graph());
      EXPECT_NEAR(t.ms(kept), want, 1e-6 * want);
    }
  }
}

TEST_F(LatencyTableTest, TimesThatCannotBeAreMeasuredAnew) {
  const Graph graph = network("mobilenet_v2", {{"width", 0.25}});
  const LatencyTable first = table(graph);
  Json written = Json::parse(read_file(file));
  const Json impossible[] = {-1, 0, "fast", nullptr};
  int changed = 0;
  for (Json& times : written["layers"])
    if (changed < 4 && !times.empty()) times.begin().value() = impossible[changed++];
  std::ofstream(file) << written;
  EXPECT_EQ(table(graph).measured(), changed);
  for (const char* text :
       {R"({"format": 1})", R"({"format": "espalier-latency-table", "version": "1"})", "[[["}) {
    std::ofstream(file) << text;
    EXPECT_EQ(table(graph).measured(), first.measured()) << text;
  }
}

TEST_F(LatencyTableTest, MeasuredOnceKeptAndContinued) {
  const Graph graph = network("mobilenet_v2", {{"width", 0.25}});
  const LatencyTable first = table(graph);
  const int timed = layers_timed;
  EXPECT_EQ(first.measured(), timed + 1) << "and the network";
  EXPECT_EQ(networks_timed, 1);
  const LatencyTable second = table(graph);
  EXPECT_EQ(second.measured(), 0);
  EXPECT_EQ(layers_timed, timed);
  std::vector<int> kept = full(graph);
  for (int& k : kept) k = (k + 1) / 2;
  EXPECT_DOUBLE_EQ(first.ms(kept), second.ms(kept));

  // Some of it is lost: only that is measured again.
  Json json = Json::parse(read_file(file));
  json["layers"].erase(json["layers"].begin());
  write_atomically(file, json.dump());
  const LatencyTable third = table(graph);
  EXPECT_GT(third.measured(), 0);
  EXPECT_LT(third.measured(), timed);
  EXPECT_DOUBLE_EQ(first.ms(kept), third.ms(kept));

  // A pruned network shares what it has in common and adds the rest.
  std::vector<int> some = full(graph);
  some[1] -= 1;
  EXPECT_LT(table(cut_to(graph, some)).measured(), timed);
  EXPECT_EQ(table(graph).measured(), 0) << "both are kept";
}

TEST_F(LatencyTableTest, AGroupMayHaveOneChannel) {
  const Graph graph = network("mobilenet_v2", {{"width", 0.05}});
  const std::vector<int> all = full(graph);
  ASSERT_EQ(*std::min_element(all.begin(), all.end()), 1);
  const LatencyTable t = table(graph);
  EXPECT_NEAR(t.ms(all), t.full_ms(), 1e-9 * t.full_ms());
}

TEST_F(LatencyTableTest, AnotherMachineOrADamagedFileBeginsAnew) {
  const Graph graph = network("mobilenet_v2", {{"width", 0.25}});
  const int all = table(graph).measured();
  machine["threads"] = 2;
  EXPECT_EQ(table(graph).measured(), all);
  std::ofstream(file) << "{\"format\": ";
  EXPECT_EQ(table(graph).measured(), all);
  EXPECT_EQ(table(graph).measured(), 0);
}

TEST_F(LatencyTableTest, AnInterruptKeepsWhatWasMeasured) {
  const Graph graph = network("mobilenet_v2", {{"width", 0.25}});
  const auto interrupted = [&] {
    LatencyTable(graph, file, machine,
                 {.layer =
                      [&](const Graph& part) {
                        if (++layers_timed == 40) request_interrupt();
                        return made_up_ms(part);
                      },
                  .network = made_up_ms});
  };
  EXPECT_THROW(interrupted(), Interrupted);
  request_interrupt(false);
  const int before = layers_timed;
  EXPECT_EQ(before, 40);
  const int rest = table(graph).measured();
  std::filesystem::remove(file);
  EXPECT_EQ(rest, table(graph).measured() - before);
}

TEST_F(LatencyTableTest, AnInterruptOfAMeasurementKeepsTheOnesBefore) {
  const Graph graph = network("mobilenet_v2", {{"width", 0.25}});
  const auto measure = [&](const Graph& part) {
    if (++layers_timed == 40) throw Interrupted("interrupted while timing");
    return made_up_ms(part);
  };
  EXPECT_THROW(LatencyTable(graph, file, machine, {.layer = measure, .network = made_up_ms}), Interrupted);
  const int rest = table(graph).measured();
  std::filesystem::remove(file);
  EXPECT_EQ(rest, table(graph).measured() - 39);
}

TEST_F(LatencyTableTest, NarrowerIsNeverSlower) {
  // A clock with noise: the table irons it out.
  const Graph graph = network("mobilenet_v2", {{"width", 0.5}});
  Random noise(5, Purpose::kTest);
  const LatencyTable t(
      graph, file, machine,
      {.layer = [&](const Graph& part) { return made_up_ms(part) * noise.uniform(0.5, 1.5); },
       .network = made_up_ms});
  std::vector<int> kept = full(graph);
  for (size_t g = 0; g < kept.size(); ++g) {
    double before = t.ms(kept);
    for (; kept[g] > 1; --kept[g]) {
      EXPECT_LE(t.ms(kept), before * (1 + 1e-12));
      before = t.ms(kept);
    }
    kept[g] = full(graph)[g];
  }
}

TEST_F(LatencyTableTest, ATimeThatIsNoneIsAnError) {
  const Graph graph = network("mobilenet_v2", {{"width", 0.25}});
  for (const double bad : {0.0, -1.0, std::nan("")})
    EXPECT_TRUE(contains(message_of([&] {
                           LatencyTable(graph, file, machine,
                                        {.layer = [&](const Graph&) { return bad; }, .network = made_up_ms});
                         }),
                         "a time must be positive and finite"));
}

struct LatencyBudgetTest : LatencyTableTest {
  Graph graph = network("mobilenet_v2", {{"width", 0.5}});
  LatencyTable times = table(graph);
  Sensitivity curves = [this] {
    Sensitivity s{.metric_name = "top1", .baseline = 1, .baseline_loss = 0.3, .samples = 100};
    s.criterion = "l1";
    s.model = graph.hash();
    double steep = 0.1;
    for (const ChannelGroup& group : channel_groups(graph)) {
      GroupSensitivity g{.name = group.name, .channels = group.channels};
      steep = steep > 0.8 ? 0.1 : steep + 0.13;
      for (const double r : {0.3, 0.6, 0.9})
        g.points.push_back({r, 0, 0, steep * r * r, 0.3 + steep * r * r});
      s.groups.push_back(g);
    }
    return s;
  }();
};

TEST_F(LatencyBudgetTest, HoldsByTheTableForEveryRule) {
  for (const SelectionRule rule :
       {SelectionRule::kTolerance, SelectionRule::kGreedy, SelectionRule::kUniform})
    for (const double share : {0.4, 0.6, 0.9, 1.0}) {
      SCOPED_TRACE(str(name(rule), " ", share));
      const PruningPlan of_share =
          select_channels(graph, curves, {.keep_latency = share, .rule = rule}, &times);
      EXPECT_LE(*of_share.latency_after, share * times.full_ms() * (1 + 1e-12));
      EXPECT_GT(*of_share.latency_after, (share - 0.08) * times.full_ms()) << "much more was cut than asked";
      EXPECT_DOUBLE_EQ(*of_share.latency_before, times.full_ms());
      const PruningPlan of_ms =
          select_channels(graph, curves, {.latency_ms = share * times.full_ms(), .rule = rule}, &times);
      EXPECT_EQ(to_json(of_ms).at("groups"), to_json(of_share).at("groups"));
      EXPECT_EQ(to_json(of_ms).at("budget").begin().key(), "latency_ms");
      EXPECT_EQ(to_json(of_ms).at("after").at("predicted_ms"), *of_ms.latency_after);
    }
}

TEST_F(LatencyBudgetTest, StepsThatSaveNoTimeEndToo) {
  // A clock that sees only every other step of 16 channels.
  const LatencyTable coarse(graph, folder.path() / "coarse.json", machine,
                            {.layer = [](const Graph& part) { return 1 + std::floor(made_up_ms(part) / 2); },
                             .network = made_up_ms});
  const double least = [&] {
    const std::string message =
        message_of([&] { select_channels(graph, curves, {.keep_latency = 1e-6}, &coarse); });
    const size_t at = message.find("allow, ");
    EXPECT_NE(at, std::string::npos) << message;
    return std::stod(message.substr(at + 7)) / 100;
  }();
  const double share = (1 + least) / 2;
  const PruningPlan plan =
      select_channels(graph, curves, {.keep_latency = share, .rule = SelectionRule::kGreedy}, &coarse);
  EXPECT_LE(*plan.latency_after, share * coarse.full_ms());
}

TEST_F(LatencyBudgetTest, OutOfReachSaysWhatIsNot) {
  const std::string message =
      message_of([&] { select_channels(graph, curves, {.latency_ms = 1e-3}, &times); });
  EXPECT_TRUE(contains(message, "prune: latency_ms 0.001 cannot be met")) << message;
  const size_t at = message.find("allow, ");
  ASSERT_NE(at, std::string::npos);
  EXPECT_TRUE(contains(message, " ms are left")) << message;
  const double least = std::stod(message.substr(at + 7)) + 0.001;
  EXPECT_LE(*select_channels(graph, curves, {.latency_ms = least}, &times).latency_after, least);
}

TEST_F(LatencyBudgetTest, WhatDoesNotFitIsAnError) {
  EXPECT_TRUE(contains(message_of([&] { select_channels(graph, curves, {.keep_latency = 0.5}); }),
                       "needs a table of this machine's times"));
  EXPECT_TRUE(contains(message_of([&] { select_channels(graph, curves, {.keep_latency = 1.5}, &times); }),
                       "keep_latency 1.5 is no share"));
  EXPECT_TRUE(contains(message_of([&] { select_channels(graph, curves, {.latency_ms = -1}, &times); }),
                       "latency_ms -1 is no time"));
  EXPECT_TRUE(contains(
      message_of([&] { select_channels(graph, curves, {.keep_macs = 0.5, .latency_ms = 1}, &times); }),
      "more than one of tolerance"));
}

}  // namespace
}  // namespace espalier
