#include "recipe/benchmark.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "base/interrupt.h"
#include "base/random.h"
#include "base/version.h"
#include "runtime/session.h"
#include "tensor/allocator.h"

namespace espalier {

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Tensors random_images(const Graph& graph, int batch) {
  Tensors inputs;
  for (const int value : graph.inputs) {
    Shape shape = graph.values[value].meta.shape;
    shape[0] = batch;
    std::vector<float> pixels(shape.elements());
    Random random(1, Purpose::kTest);
    for (float& pixel : pixels) pixel = static_cast<float>(random.uniform(-1, 1));
    inputs.push_back(Tensor::from(pixels, shape, graph.device()));
  }
  return inputs;
}

double percentile(std::vector<double>& sorted, double share) {
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * static_cast<double>(sorted.size())))];
}

/// One graph at one batch size.
struct Subject {
  std::unique_ptr<Session> session;
  Tensors inputs;
  std::vector<double> times;
  double taken = 0;  ///< ms

  Subject(const Graph& graph, int batch) : session(std::make_unique<Session>(graph)) {
    inputs = random_images(graph, batch);
    for (int i = 0; i < 2; ++i) run();  // plans, packs, warms up
  }
  void run_for(double ms) {
    const auto start = Clock::now();
    do {
      const auto begin = Clock::now();
      run();
      times.push_back(milliseconds_since(begin));
    } while (milliseconds_since(start) < ms);
    taken += milliseconds_since(start);
  }
  /// A slow network's runs take more than a round's share: it does without the last rounds.
  bool timed_for(double ms) const {
    constexpr size_t kLeastRuns = 3;
    return times.size() >= kLeastRuns && taken >= ms;
  }
  std::vector<double> profile() {
    if (interrupt_requested()) throw Interrupted("interrupted while timing");
    return session->profile(inputs);
  }

 private:
  void run() {
    if (interrupt_requested()) throw Interrupted("interrupted while timing");
    session->run(inputs);
  }
};

std::vector<Subject> time_all(std::span<const Graph* const> graphs, int batch,
                              const BenchmarkOptions& options) {
  std::vector<Subject> subjects;
  for (const Graph* graph : graphs) subjects.emplace_back(*graph, batch);
  for (int round = 0; round < options.rounds; ++round)
    for (Subject& subject : subjects)
      if (!subject.timed_for(1000 * options.seconds))
        subject.run_for(1000 * options.seconds / options.rounds);
  for (Subject& subject : subjects) std::sort(subject.times.begin(), subject.times.end());
  return subjects;
}

/// How many of the first have activations at options.batch that together take no more than
/// options.memory; one at least.
size_t side_by_side(std::span<const Timing> timings, const BenchmarkOptions& options) {
  size_t count = 0;
  for (int64_t bytes = 0; count < timings.size(); ++count) {
    bytes += options.batch * timings[count].arena_bytes;
    if (count > 0 && bytes > options.memory) break;
  }
  return count;
}

}  // namespace

std::vector<Timing> benchmark(const std::vector<const Graph*>& graphs, const BenchmarkOptions& options) {
  std::vector<Timing> timings(graphs.size());
  {
    std::vector<Subject> subjects = time_all(graphs, 1, options);
    for (size_t i = 0; i < subjects.size(); ++i) {
      std::vector<double>& times = subjects[i].times;
      timings[i] = {.median_ms = percentile(times, 0.5),
                    .p95_ms = percentile(times, 0.95),
                    .least_ms = times.front(),
                    .runs = static_cast<int>(times.size()),
                    .arena_bytes = subjects[i].session->arena_bytes(),
                    .packed_bytes = subjects[i].session->packed_bytes()};
    }
  }
  if (options.batch == 0) return timings;
  for (size_t first = 0; first < graphs.size();) {
    const size_t count = side_by_side(std::span(timings).subspan(first), options);
    std::vector<Subject> subjects = time_all(std::span(graphs).subspan(first, count), options.batch, options);
    for (size_t i = 0; i < count; ++i)
      timings[first + i].images_per_second = 1000.0 * options.batch / percentile(subjects[i].times, 0.5);
    first += count;
    subjects.clear();
    // The blocks of the large ones are of no use to those after them.
    if (first < graphs.size()) allocator::release_cached(graphs[first]->device());
  }
  return timings;
}

std::vector<LayerTiming> benchmark_layers(const Graph& graph, int batch, double seconds) {
  Subject subject(graph, batch);
  std::vector<std::vector<double>> times;
  for (const auto start = Clock::now(); times.empty() || milliseconds_since(start) < 1000 * seconds;)
    times.push_back(subject.profile());
  std::vector<LayerTiming> layers;
  const Graph& ran = subject.session->graph();
  for (size_t i = 0; i < ran.items.size(); ++i) {
    std::vector<double> one;
    for (const std::vector<double>& run : times) one.push_back(run.at(i));
    std::sort(one.begin(), one.end());
    layers.push_back({ran.items[i].name, ran.items[i].op->name(), percentile(one, 0.5)});
  }
  return layers;
}

LatencyTable latency_table(const Graph& graph, const std::filesystem::path& file, Json machine) {
  constexpr double kSeconds = 0.01;  // a layer and point of the table
  machine["version"] = kVersion;
  spdlog::info("times of the network's layers at several widths, kept in {}", file.string());
  const auto layer = [](const Graph& part) {
    double ms = 0;
    for (const LayerTiming& item : benchmark_layers(part, 1, kSeconds)) ms += item.ms;
    return ms;
  };
  const auto network = [](const Graph& whole) { return benchmark({&whole}, {.batch = 0}).at(0).median_ms; };
  LatencyTable table(graph, file, machine, {.layer = layer, .network = network});
  spdlog::info("{} layers, {} times measured now; {:.3f} ms for the whole network", table.layers(),
               table.measured(), table.full_ms());
  return table;
}

}  // namespace espalier
