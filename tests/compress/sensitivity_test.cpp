#include "compress/sensitivity.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "compress/criterion.h"
#include "compress/select.h"
#include "compress/sweep.h"
#include "compress/toy.h"
#include "io/file.h"
#include "kernels/device.h"
#include "passes/masking.h"
#include "support/messages.h"
#include "support/passing_task.h"
#include "support/temporary_directory.h"
#include "tasks/evaluate.h"

namespace espalier {
namespace {

using test::contains;
using test::message_of;
using test::PassingTask;

struct SensitivityTest : ::testing::Test {
  test::TemporaryDirectory folder;
  std::filesystem::path file = folder.path() / "sensitivity.json";
  Graph graph = test::small_mobilenet();
  std::unique_ptr<Task> task = make_task("classification", 10, Json::object());
  test::ToySource source{graph, 40, 16};
  SensitivityOptions options{.ratios = {0.25, 0.5, 0.9}, .stop_loss = 1};

  Sensitivity measure() { return measure_sensitivity(graph, *task, source, file, options); }
};

/// The metric of every masked model in full, as the reference measures it.
void expect_same_as_masking(const Graph& graph, const Task& task, BatchSource& source,
                            const Sensitivity& measured) {
  for (const ChannelGroup& group : channel_groups(graph)) {
    const GroupSensitivity* curve = measured.find(group.name);
    ASSERT_TRUE(curve) << group.name;
    ASSERT_EQ(curve->points.size(), measured.ratios.size());
    const std::vector<int> order = removal_order(graph, group, measured.criterion);
    for (const SensitivityPoint& point : curve->points) {
      SCOPED_TRACE(str(group.name, " ", point.ratio));
      const std::vector<int> channels(order.begin(), order.begin() + point.removed);
      Session session(test::masked(graph, {{group, channels}}));
      const MetricResult masked = evaluate(session, task, source);
      EXPECT_EQ(point.metric, masked.value);
      // Masked channels take part in the sums, as zeros, in other places.
      EXPECT_NEAR(point.evaluation_loss, masked.loss, 1e-4 * std::abs(masked.loss));
      EXPECT_EQ(point.removed, removed_count(group.channels, point.ratio));
      EXPECT_EQ(point.loss, (measured.baseline - point.metric) / measured.baseline);
    }
  }
}

TEST_F(SensitivityTest, GivesTheMetricOfEveryMaskedModel) {
  const Sensitivity measured = measure();
  EXPECT_TRUE(measured.complete());
  EXPECT_EQ(measured.metric_name, "top1");
  EXPECT_EQ(measured.baseline, 0.9);
  EXPECT_EQ(measured.samples, 40);
  expect_same_as_masking(graph, *task, source, measured);
  int lossy = 0;
  for (const GroupSensitivity& g : measured.groups) lossy += g.points.back().loss > 0.1;
  EXPECT_GT(lossy, 10) << "curves so flat prove nothing";
}

TEST_F(SensitivityTest, TheReferenceFormToo) {
  graph = test::small_mobilenet(2, "reference");
  source = test::ToySource(graph, 24, 16);
  options.ratios = {0.5};
  const Sensitivity measured = measure();
  EXPECT_EQ(measured.groups.size(), 26u);
  expect_same_as_masking(graph, *task, source, measured);
}

TEST_F(SensitivityTest, ConcatsAndResidualsToo) {
  graph = test::small_concat_network();
  task = make_task("classification", 6, Json::object());
  source = test::ToySource(graph, 40, 16);
  options.ratios = {0.1, 0.3, 0.5, 0.7, 0.9};
  expect_same_as_masking(graph, *task, source, measure());
}

TEST_F(SensitivityTest, MemoryChangesNothingButTheWork) {
  const Sensitivity rich = measure();
  const int read_once = source.batches_given;
  EXPECT_EQ(read_once, 3) << "with enough memory the data set is read once";
  for (const int64_t memory : {int64_t{0}, int64_t{600'000}, int64_t{1'000'000}}) {
    SCOPED_TRACE(memory);
    std::filesystem::remove(file);
    options.memory = memory;
    const Sensitivity poor = measure();
    EXPECT_EQ(to_json(poor), to_json(rich));
  }
  EXPECT_GT(source.batches_given, 2 * read_once);
}

TEST_F(SensitivityTest, ACurveEndsWithItsFirstPointPastStopLoss) {
  options.ratios = {0.1, 0.3, 0.5, 0.7, 0.9};
  const Sensitivity full = measure();
  std::filesystem::remove(file);
  options.stop_loss = 0.87;
  const Sensitivity stopped = measure();
  EXPECT_TRUE(stopped.complete());
  size_t left_out = 0;
  for (size_t g = 0; g < full.groups.size(); ++g) {
    const auto &all = full.groups[g].points, &some = stopped.groups[g].points;
    ASSERT_FALSE(some.empty());
    left_out += all.size() - some.size();
    for (size_t i = 0; i < some.size(); ++i) {
      EXPECT_EQ(some[i].metric, all[i].metric);
      if (i + 1 < some.size()) {
        EXPECT_LE(some[i].loss, 0.87) << full.groups[g].name;
      }
    }
    if (some.size() < all.size()) {
      EXPECT_GT(some.back().loss, 0.87) << full.groups[g].name;
    }
  }
  EXPECT_GT(left_out, 5u);

  // Plans that keep every group within it are the same.
  const SelectOptions budget{.keep_macs = 0.8, .keep_multiple_of = 1, .min_channels = 1};
  const PruningPlan plan = select_channels(graph, stopped, budget);
  ASSERT_LT(*plan.tolerance, 0.87);
  EXPECT_EQ(to_json(plan), to_json(select_channels(graph, full, budget)));

  // A file with ended curves grows when more is allowed.
  options.stop_loss = 1;
  EXPECT_EQ(to_json(measure()), to_json(full));
}

TEST_F(SensitivityTest, FilesReadBackAsWritten) {
  options.note = "toys";
  const Sensitivity measured = measure(), read = load_sensitivity(file);
  EXPECT_EQ(to_json(read), to_json(measured));
  EXPECT_EQ(read.note, "toys");
  EXPECT_EQ(read.model, graph.hash());
  EXPECT_EQ(read.data, source.hash());
  ASSERT_EQ(read.groups.size(), channel_groups(graph).size());
  EXPECT_EQ(read.groups[0].name, "stem");
  EXPECT_EQ(read.groups[0].members[0].parameter, "stem/w");
  EXPECT_EQ(read.groups[0].members[0].role, "makes it");
  check_same_model(read, graph, "file");
}

/// Everything measured, but only the first `points` of it in the file, as after a kill.
void keep_points(const std::filesystem::path& file, int points) {
  Sensitivity s = load_sensitivity(file);
  for (GroupSensitivity& g : s.groups)
    while (!g.points.empty() && points-- <= 0) g.points.clear();
  save_sensitivity(file, s);
}

TEST_F(SensitivityTest, ContinuesWhereItStopped) {
  const Sensitivity whole = measure();
  const std::string text = read_file(file);
  for (const int groups : {0, 1, 7, 24}) {
    SCOPED_TRACE(groups);
    keep_points(file, groups);
    EXPECT_FALSE(load_sensitivity(file).complete());
    EXPECT_EQ(to_json(measure()), to_json(whole));
    EXPECT_EQ(read_file(file), text);
  }
  source.batches_given = 0;
  measure();
  EXPECT_EQ(source.batches_given, 0) << "all is there, nothing is measured";
}

/// Sees how many metrics live at once, and holds the first ones until as many as expected do.
struct CountingTask final : PassingTask {
  struct Count {
    std::mutex mutex;
    std::condition_variable changed;
    int expected, alive = 0, most = 0;
  };
  struct Counted final : Metric {
    std::unique_ptr<Metric> inner;
    Count& count;
    Counted(std::unique_ptr<Metric> inner, Count& count) : inner(std::move(inner)), count(count) {
      std::unique_lock lock(count.mutex);
      count.most = std::max(count.most, ++count.alive);
      count.changed.notify_all();
      const auto enough = [&] { return count.most >= count.expected; };
      if (!count.changed.wait_for(lock, std::chrono::seconds(20), enough)) count.expected = 0;
    }
    ~Counted() override {
      const std::lock_guard lock(count.mutex);
      --count.alive;
    }
    void update(const Tensors& outputs, const Batch& batch) override { inner->update(outputs, batch); }
    MetricResult summary() const override { return inner->summary(); }
    MetricResult result() const override { return inner->result(); }
  };
  mutable Count count;
  CountingTask(const Task& inner, int expected) : PassingTask(inner) { count.expected = expected; }
  std::unique_ptr<Metric> metric() const override { return std::make_unique<Counted>(inner.metric(), count); }
};

TEST_F(SensitivityTest, SeveralCurvesAtOnceGiveTheSame) {
  const kernels::Threads one(1);
  options.stop_loss = 0.5;
  const Sensitivity alone = measure();
  const std::string text = read_file(file);
  for (const int threads : {2, 5})
    for (const int64_t memory : {int64_t{600'000}, int64_t{2'000'000}, int64_t{1} << 30}) {
      SCOPED_TRACE(str(threads, " threads, ", memory, " bytes"));
      const kernels::Threads some(threads);
      std::filesystem::remove(file);
      options.memory = memory;
      EXPECT_EQ(to_json(measure()), to_json(alone));
      EXPECT_EQ(read_file(file), text);
    }
}

TEST_F(SensitivityTest, MeasuresAsManyCurvesAtOnceAsThereAreThreadsAndMemoryFor) {
  const Sensitivity whole = measure();
  const auto most_at_once = [&](int threads, int64_t memory, int expected) {
    const kernels::Threads some(threads);
    // The baseline is there, so that no metric is waited for alone.
    keep_points(file, 0);
    options.memory = memory;
    const CountingTask counting(*task, expected);
    const Sensitivity measured = measure_sensitivity(graph, counting, source, file, options);
    for (const GroupSensitivity& g : measured.groups)
      if (!g.points.empty()) {
        EXPECT_EQ(g.points.back().metric, whole.find(g.name)->points.back().metric);
      }
    return counting.count.most;
  };
  EXPECT_EQ(most_at_once(4, int64_t{1} << 30, 4), 4);
  EXPECT_EQ(most_at_once(3, int64_t{1} << 30, 3), 3);
  EXPECT_EQ(most_at_once(1, int64_t{1} << 30, 1), 1);
  EXPECT_EQ(most_at_once(4, 0, 1), 1) << "what does not fit is measured one after the other";
  options.groups.include = {"stem", "block1/*", "block2/*"};
  EXPECT_EQ(most_at_once(4, 600'000, 1), 1) << "what is kept leaves no memory for a second run";
}

TEST_F(SensitivityTest, OneFailureEndsAllCurves) {
  struct Failing final : PassingTask {
    using PassingTask::PassingTask;
    mutable std::atomic<int> begun{0};
    std::unique_ptr<Metric> metric() const override {
      ESPALIER_CHECK(++begun != 9, "no room for metric 9");
      return inner.metric();
    }
  };
  const kernels::Threads four(4);
  options.ratios = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};
  options.groups.include = {"stem", "block1/*", "block2/*", "head"};
  const Sensitivity whole = measure();
  std::filesystem::remove(file);
  const Failing failing(*task);
  EXPECT_TRUE(
      contains(message_of([&] { measure_sensitivity(graph, failing, source, file, options); }), "metric 9"));
  EXPECT_LT(failing.begun, 18) << "the other curves went on";
  EXPECT_EQ(to_json(measure()), to_json(whole)) << "what was measured before it is kept";
}

/// Asks to stop when its n-th metric is begun, as Ctrl-C would.
struct InterruptingTask final : PassingTask {
  std::atomic<int>* left;
  InterruptingTask(const Task& inner, std::atomic<int>* left) : PassingTask(inner), left(left) {}
  std::unique_ptr<Metric> metric() const override {
    if ((*left)-- == 0) request_interrupt();
    return inner.metric();
  }
};

TEST_F(SensitivityTest, CtrlCLosesNothingThatWasMeasured) {
  const Sensitivity whole = measure();
  std::filesystem::remove(file);
  std::atomic<int> left{20};
  const InterruptingTask interrupting(*task, &left);
  try {
    measure_sensitivity(graph, interrupting, source, file, options);
    FAIL() << "was not interrupted";
  } catch (const Interrupted& e) {
    EXPECT_TRUE(contains(e.what(), "of 75 points are in")) << e.what();
  }
  request_interrupt(false);
  const Sensitivity part = load_sensitivity(file);
  int points = 0;
  for (const GroupSensitivity& g : part.groups) points += static_cast<int>(g.points.size());
  EXPECT_GT(points, 10);
  EXPECT_LT(points, 60);
  EXPECT_EQ(to_json(measure()), to_json(whole));
}

TEST_F(SensitivityTest, AddsRatiosAndGroupsToAFile) {
  options.groups.include = {"block1/*", "stem"};
  Sensitivity some = measure();
  ASSERT_EQ(some.groups.size(), 2u);
  EXPECT_EQ(some.groups[1].name, "block1/project");
  options.ratios = {0.75};
  options.groups.include = {"stem", "head"};
  some = measure();
  ASSERT_EQ(some.groups.size(), 3u);
  EXPECT_EQ(some.groups[2].name, "head");
  EXPECT_EQ(some.groups[0].points.size(), 4u);
  EXPECT_EQ(some.groups[1].points.size(), 3u);
  EXPECT_EQ(some.groups[2].points.size(), 1u);
  EXPECT_FALSE(some.complete());
  options = {.ratios = {0.25, 0.5, 0.75, 0.9}, .stop_loss = 1};
  const Sensitivity all = measure();
  std::filesystem::remove(file);
  EXPECT_EQ(to_json(all), to_json(measure()));
}

TEST_F(SensitivityTest, RefusesAFileOfSomethingElse) {
  options.groups.include = {"head"};
  measure();
  const std::string before = read_file(file);
  const Graph own = graph;
  graph = test::small_mobilenet(7);
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "of another model (or of other weights)"));
  graph = own;
  options.criterion = "l2";
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "by criterion l1, not l2"));
  options.criterion = "l1";
  source = test::ToySource(graph, 40, 16, 5);
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "measured on another data set"));
  EXPECT_EQ(read_file(file), before);
  std::ofstream(file) << before.substr(0, before.size() / 2);
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "is no sensitivity file (no JSON, or cut short)"));
}

TEST_F(SensitivityTest, ABaselineOfZeroIsAnError) {
  source = test::ToySource(graph, 16, 16, 1, 1);  // every label is wrong
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "top1 is 0 with nothing removed"));
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(SensitivityTest, ImpossibleOptionsAreErrors) {
  options.ratios = {0.5, 1.0};
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "ratio 1 is no share of channels"));
  options.ratios = {};
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "no ratio was given"));
  options.ratios = {0.5};
  options.criterion = "l3";
  EXPECT_EQ(message_of([&] { measure(); }), "criterion 'l3' is unknown; did you mean 'l1'?");
  options.criterion = "l1";
  options.groups.exclude = {"blok3/expand"};
  EXPECT_EQ(message_of([&] { measure(); }),
            "exclude: 'blok3/expand' matches no layer whose channels can be removed; did you mean "
            "'block3/expand'?");
  options.groups.exclude = {"*"};
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "leave no group to measure"));
  options.groups = {};
  options.stop_loss = 1.5;
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "stop_loss 1.5 is no share"));
  options.stop_loss = 1;
  file = folder.path() / "missing" / "s.json";
  EXPECT_TRUE(contains(message_of([&] { measure(); }), "cannot be written"));
}

TEST_F(SensitivityTest, DamagedFilesAreErrors) {
  options.groups.include = {"stem"};
  const Json good = to_json(measure());
  const auto message = [&](const std::function<void(Json&)>& damage) {
    Json json = good;
    damage(json);
    return message_of([&] { sensitivity_from_json(json, "F"); });
  };
  EXPECT_EQ(message([](Json&) {}), "");
  EXPECT_TRUE(contains(message([](Json& j) { j["version"] = 1; }), "F: has version 1"));
  EXPECT_TRUE(contains(message([](Json& j) { j.erase("baseline"); }), "F: 'baseline' is missing"));
  EXPECT_TRUE(contains(message([](Json& j) { j["basline"] = 1; }), "did you mean 'baseline'"));
  EXPECT_TRUE(contains(message([](Json& j) { j["baseline"] = 0; }), "F: its baseline is 0"));
  EXPECT_TRUE(contains(message([](Json& j) { j["baseline"] = "x"; }), "F: is damaged"));
  EXPECT_TRUE(contains(message([](Json& j) { j["model"] = "12"; }), "no hash"));
  EXPECT_TRUE(contains(message([](Json& j) { j["groups"][0]["points"][1]["ratio"] = 0.1; }), "out of place"));
  EXPECT_TRUE(contains(message([](Json& j) { j["groups"][0]["points"][1]["removed"] = 99; }), "99 of 8"));
  EXPECT_TRUE(contains(message([](Json& j) { j["groups"].push_back(Json(j["groups"][0])); }), "there twice"));
  EXPECT_TRUE(contains(message([](Json& j) { j = Json::array(); }), "is no sensitivity file"));
  EXPECT_TRUE(contains(message([](Json& j) { j["format"] = 1; }), "is no sensitivity file"));
  EXPECT_TRUE(contains(message([](Json& j) { j["version"] = "2"; }), "F: has version \"2\""));
  EXPECT_TRUE(contains(message_of([&] { load_sensitivity(folder.path() / "none.json"); }), "no such file"));
}

TEST_F(SensitivityTest, ChecksForWhichModelAFileIs) {
  options.groups.include = {"head", "stem"};
  const Sensitivity measured = measure();
  check_same_model(measured, graph, "F");
  const Graph other_weights = test::small_mobilenet(3);
  check_same_groups(measured, other_weights, "F");
  EXPECT_TRUE(
      contains(message_of([&] { check_same_model(measured, other_weights, "F"); }), "F: was measured on"));
  check_same_groups(measured, test::small_mobilenet(1, "paper", 15),
                    "F");  // another head has the same groups
  const Graph wider = build_model({"mobilenet_v2", 10, {{"width", 0.5}}}, 32, 1);
  EXPECT_TRUE(contains(message_of([&] { check_same_groups(measured, wider, "F"); }),
                       "F: group 'stem' had 8 channels when it was measured, here it has 16"));
  EXPECT_TRUE(contains(message_of([&] { check_same_groups(measured, test::small_concat_network(), "F"); }),
                       "F: measured group 'stem', which this model does not have"));
}

TEST_F(SensitivityTest, TablesForPeople) {
  options.groups.include = {"stem"};
  const Sensitivity measured = measure();
  const std::string table = sensitivity_table(measured), csv = sensitivity_csv(measured);
  EXPECT_TRUE(contains(table, "loss of top1 in % of its 90.00 % (76.9-96.0 on 40 images)")) << table;
  EXPECT_TRUE(contains(table, "group channels   0.25   0.50   0.90\nstem         8")) << table;
  EXPECT_TRUE(contains(
      csv, "group,channels,ratio,removed,metric,low,high,images,loss,evaluation_loss\nstem,8,0.25,2,"))
      << csv;
}

TEST(Criterion, CountsRoundHalfToEvenAndLeaveOne) {
  EXPECT_EQ(removed_count(25, 0.1), 2);  // 2.5
  EXPECT_EQ(removed_count(35, 0.1), 4);  // 3.5
  EXPECT_EQ(removed_count(32, 0.5), 16);
  EXPECT_EQ(removed_count(4, 0.9), 3);
  EXPECT_EQ(removed_count(2, 0.9), 1);
  EXPECT_EQ(removed_count(1, 0.9), 0);
}

TEST(Criterion, ScoresByWeightsOrByPictures) {
  for (const CriterionEntry& entry : criterion_table())
    EXPECT_NE(entry.score == nullptr, entry.on_pictures == nullptr) << entry.name;
}

TEST(Criterion, OrdersByTheNormsOfTheFilters) {
  const Graph graph = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor a = conv_bn(s / "a", x, 4, {.kernel = 1});
        return {
            fully_connected(s / "head", global_avg_pool(add(a, conv_bn(s / "b", a, 4, {.kernel = 1}))), 2)};
      },
      4, 4, 2, 1);
  const auto set = [&](const char* name, const std::vector<float>& values) {
    graph.values[graph.find(name)].param.set(values);
  };
  set("a/w", {3, -3, 0, 5, 1, 1, 1, -1});  // L1 6 5 2 2, L2 4.2 5 1.4 1.4
  set("b/w", std::vector<float>(16, 0.0f));
  const ChannelGroup group = channel_groups(graph).front();
  EXPECT_EQ(removal_order(graph, group, "l1"), (std::vector<int>{2, 3, 1, 0}));  // equal ones by index
  EXPECT_EQ(removal_order(graph, group, "l2"), (std::vector<int>{2, 3, 0, 1}));
  // Distances to the others add up to 15.8, 18.7, 10.6 and 10.9.
  EXPECT_EQ(removal_order(graph, group, "geometric_median"), (std::vector<int>{2, 3, 0, 1}));
  set("a/w", {9, 9, 0, 2, 0, 0, 1, 0});  // 36.2, 15.6, 15.7 and 15.3: the outlier stays
  EXPECT_EQ(removal_order(graph, group, "geometric_median"), (std::vector<int>{3, 1, 2, 0}));
  set("a/w", {3, -3, 0, 5, 1, 1, 1, -1});
  set("a/norm/scale", {0.5f, -2, 1, -0.1f});
  EXPECT_EQ(removal_order(graph, group, "bn_scale"), (std::vector<int>{3, 0, 2, 1}));
  // With all layers b counts as much as a, though its weights are a hundred times smaller.
  std::vector<float> b(16, 0.0f);
  b[3 * 4] = 0.09f;  // channel 3 of 4
  b[1 * 4] = 0.03f;
  set("b/w", b);
  EXPECT_EQ(removal_order(graph, group, "l1_all"), (std::vector<int>{2, 0, 1, 3}));
  EXPECT_EQ(removal_order(graph, group, "l1"), (std::vector<int>{2, 3, 1, 0}));
  std::vector<int> random = removal_order(graph, group, "random");
  EXPECT_EQ(random, removal_order(graph, group, "random"));
  std::sort(random.begin(), random.end());
  EXPECT_EQ(random, (std::vector<int>{0, 1, 2, 3}));
  set("a/w", {3, -3, NAN, 5, 1, 1, 1, -1});
  EXPECT_TRUE(
      contains(message_of([&] { removal_order(graph, group, "l1"); }), "channel 1 of group 'a' scores"));
}

TEST(DefaultSensitivities, AreFoundBesideTheRecipes) {
  test::TemporaryDirectory folder;
  std::filesystem::create_directories(folder.path() / "sensitivities");
  std::ofstream(folder.path() / "sensitivities" / "toy.json") << "{}";
  ::setenv("ESPALIER_RECIPES", folder.path().c_str(), 1);
  EXPECT_EQ(default_sensitivities("toy"), folder.path() / "sensitivities" / "toy.json");
  EXPECT_TRUE(contains(message_of([] { default_sensitivities("yolo"); }), "files are shipped for toy"));
  ::unsetenv("ESPALIER_RECIPES");
}

TEST(DefaultSensitivities, TheShippedOnesFitTheirModel) {
  for (const char* model : {"mobilenet_v2", "unet"}) {
    SCOPED_TRACE(model);
    const std::filesystem::path file = default_sensitivities(model);
    const Sensitivity shipped = load_sensitivity(file);
    EXPECT_TRUE(shipped.complete());
    EXPECT_FALSE(shipped.note.empty());
    // Whatever the classes and the pictures: the output layer is in no group.
    const Graph graph = build_model({model, 15, {}}, 64, 1);
    check_same_groups(shipped, graph, file.string());
    const PruningPlan plan = select_channels(graph, shipped, {.keep_macs = 0.4});
    EXPECT_LE(static_cast<double>(plan.after.macs), 0.4 * static_cast<double>(plan.before.macs));
  }
}

}  // namespace
}  // namespace espalier
