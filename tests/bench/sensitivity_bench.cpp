// The sweep against evaluating every masked model in full:
//
//   bench_sensitivity [--model FILE] [--images N] [--few N] [--batch N] [--masked N] [--data ROOT LIST]
//                     [--weights FILE]
//
// times the whole sweep (for MobileNetV2 25 groups, 9 ratios) and N masked models through Session and
// evaluate(), spread over groups and ratios; both read the same batches from memory. With --few also what a
// recipe does with `images: N`: the sweep on so many of them, and the decisions for a list of budgets, which
// measure on all images what they depend on; it prints how far they are from those by the curves of all
// images. FILE is a trained classifier for the data; by default it is MobileNetV2 with the ImageNet weights.
// On a busy machine say OMP_NUM_THREADS=1 and ESPALIER_CPU_TIME=1, which counts processor time instead.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/random.h"
#include "compress/criterion.h"
#include "compress/select.h"
#include "compress/sensitivity.h"
#include "datasets/dataset.h"
#include "datasets/loader.h"
#include "io/file.h"
#include "io/model_file.h"
#include "io/weight_import.h"
#include "models/model_table.h"
#include "passes/masking.h"
#include "support/shared.h"
#include "support/temporary_directory.h"
#include "tasks/evaluate.h"

namespace {

using namespace espalier;

double seconds() {
  if (std::getenv("ESPALIER_CPU_TIME")) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Arguments {
  int images = 256, few = 0, batch = 32, masked = 15;
  std::string root = test::shared_path("data/imagenet_sample"), list = "all_list.txt", model;
  std::string weights = test::shared_path("weights/mobilenet_v2_imagenet.safetensors");
};

Arguments parse(int count, char** words) {
  Arguments a;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto value = [&]() -> std::string {
      ESPALIER_CHECK(i + 1 < count, word, " needs a value");
      return words[++i];
    };
    if (word == "--images")
      a.images = std::stoi(value());
    else if (word == "--few")
      a.few = std::stoi(value());
    else if (word == "--batch")
      a.batch = std::stoi(value());
    else if (word == "--masked")
      a.masked = std::stoi(value());
    else if (word == "--model")
      a.model = value();
    else if (word == "--weights")
      a.weights = value();
    else if (word == "--data") {
      a.root = value();
      a.list = value();
    } else
      fail(str("unknown argument ", word));
  }
  return a;
}

/// Batches that are read once and then come from memory.
struct InMemory final : BatchSource {
  std::vector<Batch> kept;
  size_t at = 0;
  uint64_t fingerprint;
  explicit InMemory(BatchSource& from) : fingerprint(from.hash()) {
    Batch batch;
    for (from.start(); from.next(batch);) kept.push_back(std::move(batch));
  }
  void start(int, int64_t first) override { at = static_cast<size_t>(first); }
  bool next(Batch& batch) override {
    if (at >= kept.size()) return false;
    batch = kept[at++];
    return true;
  }
  int64_t batches() const override { return static_cast<int64_t>(kept.size()); }
  int64_t samples() const override { return batches() * kept.front().size(); }
  uint64_t hash() const override { return fingerprint; }
};

/// The curves, and how long measuring them took.
struct Timed {
  Sensitivity curves;
  double seconds;
};

Timed timed_sweep(const Graph& graph, const Task& task, BatchSource& source,
                  const std::filesystem::path& file) {
  const double start = seconds();
  Sensitivity curves = measure_sensitivity(graph, task, source, file);
  return {std::move(curves), seconds() - start};
}

/// Returns the seconds of all masked models in full, estimated from `masked` of them.
double compare(const Graph& graph, const Task& task, BatchSource& source, int masked, const Timed& timed) {
  const auto& [measured, sweep] = timed;
  std::vector<std::pair<const GroupSensitivity*, double>> points;
  size_t in_file = 0;
  for (const GroupSensitivity& g : measured.groups) {
    in_file += g.points.size();
    for (const double ratio : measured.ratios) points.emplace_back(&g, ratio);
  }
  std::map<std::string, ChannelGroup> groups;
  for (const ChannelGroup& g : channel_groups(graph)) groups[g.name] = g;
  double one_by_one = 0;
  int different = 0;
  for (int i = 0; i < masked; ++i) {
    const auto& [curve, ratio] = points[points.size() * i / masked];
    const ChannelGroup& group = groups.at(curve->name);
    std::vector<int> channels = removal_order(graph, group, measured.criterion);
    channels.resize(static_cast<size_t>(removed_count(group.channels, ratio)));
    const Graph model = test::masked(graph, {{group, channels}});
    const double begin = seconds();
    Session session(model);
    const double metric = evaluate(session, task, source).value;
    one_by_one += seconds() - begin;
    for (const SensitivityPoint& point : curve->points)
      different += point.ratio == ratio && point.metric != metric;
  }
  const double all = one_by_one / masked * static_cast<double>(points.size());
  std::printf(
      "sweep of %zu points (%zu measured, the others lie past stop_loss) on %lld images: %.2f s; masked "
      "models in full: %.4f s each, %.2f s for all "
      "(from %d of them); ratio %.2f; %d of %d metrics differ\n",
      points.size(), in_file, static_cast<long long>(measured.samples), sweep, one_by_one / masked, all,
      masked, all / sweep, different, masked);
  return all;
}

/// Decisions by the curves of a few images, refined on all, against those by the curves of all; each for
/// itself.
void decide(const Graph& graph, const Task& task, BatchSource& source, const Sensitivity& of_all,
            const Timed& of_few, double all_masked) {
  std::printf("sweep on %lld images: %.2f s, ratio %.2f\n", static_cast<long long>(of_few.curves.samples),
              of_few.seconds, all_masked / of_few.seconds);
  for (const double share : {0.7, 0.55, 0.4, 0.3}) {
    const test::TemporaryDirectory folder;
    const SelectOptions options{.keep_macs = share};
    Sensitivity refined = of_few.curves;
    const double start = seconds();
    const PruningPlan got =
        select_channels_refined(graph, task, source, folder.path() / "refined.json", refined, options);
    const double both = of_few.seconds + seconds() - start;
    const PruningPlan want = select_channels(graph, of_all, options);
    int different = 0, channels = 0, all_channels = 0;
    for (size_t g = 0; g < got.groups.size(); ++g) {
      different += got.groups[g].kept != want.groups[g].kept;
      channels += std::abs(got.groups[g].kept - want.groups[g].kept);
      all_channels += got.groups[g].before;
    }
    int64_t again = 0;
    for (const GroupSensitivity& g : refined.groups)
      again += std::count_if(g.points.begin(), g.points.end(), [](const auto& p) { return p.samples > 0; });
    std::printf(
        "  and keep_macs %.2f with %lld points again on all: %.2f s, ratio %.2f; tolerance %.4f, by the "
        "curves of "
        "all images %.4f; %d of %zu groups differ, by %d of %d channels\n",
        share, static_cast<long long>(again), both, all_masked / both, *got.tolerance, *want.tolerance,
        different, got.groups.size(), channels, all_channels);
  }
}

/// Lines "path label". ImageNet has two classes of one name, so labels.txt is not read.
Dataset read_list(const std::string& root, const std::string& list) {
  const std::string text = read_file(std::filesystem::path(root) / list);
  Dataset data{.name = std::filesystem::path(root).filename().string() + "/" + list, .root = root};
  std::istringstream lines(text);
  int classes = 0;
  for (Sample s; lines >> s.path >> s.label; classes = std::max(classes, s.label + 1))
    data.samples.push_back(s);
  for (int k = 0; k < classes; ++k) data.labels.push_back(std::to_string(k));
  data.hash = fnv1a(text.data(), text.size());
  return data;
}

/// The model, and how it wants its pictures.
Model read_model(const Arguments& a, int classes) {
  if (!a.model.empty()) return load_model(a.model);
  Model model;
  model.graph = build_model({"mobilenet_v2", classes, {{"padding", "tensorflow"}}}, 224, 1);
  import_weights(model.graph, "mobilenet_v2", a.weights);
  model.preprocessing = Json::parse(R"([{"name": "resize_short", "size": 256},
      {"name": "center_crop", "size": 224},
      {"name": "normalize", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}])");
  return model;
}

int run(const Arguments& a) {
  Dataset data = read_list(a.root, a.list);
  const auto classes = static_cast<int>(data.labels.size());
  const Model model = read_model(a, classes);
  const Graph& graph = model.graph;
  const Pipeline pipeline(model.preprocessing);
  LoaderOptions loader = eval_loader_options(a.batch);
  const auto task = make_task("classification", classes, Json::object());
  data = subset(data, a.images, 1);
  InMemory source(*make_loader(data, pipeline, loader));
  const test::TemporaryDirectory folder;
  const Timed of_all = timed_sweep(graph, *task, source, folder.path() / "all.json");
  const double all_masked = compare(graph, *task, source, a.masked, of_all);
  if (a.few > 0) {
    InMemory few(*make_loader(subset(data, a.few, 1), pipeline, loader));
    const Timed of_few = timed_sweep(graph, *task, few, folder.path() / "few.json");
    decide(graph, *task, source, of_all.curves, of_few, all_masked);
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(parse(count, words));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}
