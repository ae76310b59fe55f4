#include "recipe/run.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <fstream>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/version.h"
#include "graph/cost.h"
#include "io/file.h"
#include "recipe/benchmark.h"
#include "recipe/open_model.h"
#include "recipe/result.h"
#include "recipe/run_folder.h"
#include "recipe/stage_inputs.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Runs the stages one after another.
class Runner {
 public:
  Runner(const Recipe& recipe, const fs::path& out)
      : recipe_(recipe),
        run_(out),
        bench_(recipe),
        inputs_(bench_, out),
        bench_stage_(bench_stage_of(recipe)) {
    for (const StageSpec& stage : recipe.stages) total_ += stage.kind != "bench";
  }

  Json run() {
    const auto start = std::chrono::steady_clock::now();
    ++total_;  // the timing
    stages();
    run_bench();
    return write_result(seconds_since(start));
  }

  Json stages() {
    check_plan(bench_);
    for (const std::string& note : recipe_.document.notes) spdlog::info("{}", note);
    write_atomically(run_.root() / "recipe.json", recipe_.complete.dump(2) + "\n");
    bench_.make_data();
    Json metrics = Json::object();
    for (const StageSpec& stage : recipe_.stages) {
      if (stage.kind == "bench") continue;
      run_stage(stage);
      metrics[stage.name] = records_.at(stage.name).metrics;
    }
    return metrics;
  }

 private:
  /// Says how it stands, and takes back what was put aside; true when there is something to do.
  bool announce(const StageSpec& stage, const StageState& state) {
    if (interrupt_requested())
      throw Interrupted("interrupted before " + stage.name + "; the same command continues here");
    const std::string head = fmt::format("[{}/{}] {}", ++number_, total_, headline(recipe_, stage));
    const bool aside = state.what == StageState::What::kSetAside;
    const bool done = state.what == StageState::What::kFinished || aside;
    std::string how = word_of(state.what);
    if (aside) {
      run_.take_back(stage.name);
      how = fmt::format("is as {}.old was made; taken back", stage.name);
    }
    if (done && state.record.metrics.contains("val"))
      how += ": " + metric_text(bench_.metric_name(), state.record.metrics.at("val"));
    if (!state.why.empty()) how += ": " + state.why;
    if (!state.why.empty() && !state.empty) how += "; what was there is kept as " + stage.name + ".old";
    spdlog::info("{}{}", head, state.what == StageState::What::kNew ? "" : " (" + how + ")");
    return !done;
  }

  void run_stage(const StageSpec& stage) {
    const Json inputs = inputs_.of(stage);
    const StageState state = run_.state(stage.name, inputs);
    if (!announce(stage, state)) {
      records_[stage.name] = state.record;
      return;
    }
    run_.begin(stage.name, inputs, state);
    const auto start = std::chrono::steady_clock::now();
    const StageJob job = {.bench = bench_,
                          .stage = stage,
                          .folder = run_.stage(stage.name),
                          .model_in = inputs_.model_of(stage.from),
                          .sensitivity = stage.kind == "sensitivity"
                                             ? run_.stage(stage.name) / kSensitivityFile
                                             : inputs_.sensitivity_of(stage),
                          .whole = inputs_.whole_of(stage),
                          .teacher = inputs_.teacher_of(stage),
                          .model_out = run_.stage(stage.name) / kModelFile,
                          .selection = run_.stage(stage.name) / kSelectionFile,
                          .latencies = run_.root() / kLatencyFile};
    StageRecord record;
    record.inputs = inputs;
    record.metrics = find_stage_function(stage.kind)(job);
    std::vector<std::string> outputs = {makes_model(stage)       ? kModelFile
                                        : stage.kind == "export" ? kOnnxFile
                                                                 : kSensitivityFile};
    if (makes_model(stage)) {
      measure(stage, job.model_out, record.metrics);
      outputs.push_back(kEvaluationFile);
      if (stage.kind == "prune") outputs.push_back(kSelectionFile);
    }
    record.seconds = seconds_since(start);
    run_.finish(stage.name, record, outputs);
    records_[stage.name] = std::move(record);
  }

  /// Evaluates a model as it will run; a row of the table on the test list too.
  void measure(const StageSpec& stage, const fs::path& file, Json& metrics) {
    const Model model = open_model(file);
    const Cost weight = cost(model.graph);
    metrics["parameters"] = weight.parameters;
    metrics["macs"] = weight.macs;
    metrics["parameter_bytes"] = weight.bytes;
    metrics["bytes"] = fs::file_size(file);
    Json full = Json::object();
    for (const char* list : {"val", "test"}) {
      if (list == std::string("test") && (!bench_.has_test() || !is_variant(recipe_, stage))) continue;
      Json measured = evaluate_model(bench_, model, list);
      spdlog::info("{}: {} {}", stage.name, list, metric_text(bench_.metric_name(), measured));
      full[list] = measured;
      measured.erase("details");
      metrics[list] = std::move(measured);
    }
    write_atomically(run_.stage(stage.name) / kEvaluationFile, full.dump(2) + "\n");
  }

  void run_bench() {
    const std::vector<const StageSpec*> variants = benched(recipe_, bench_stage_);
    const Json inputs = inputs_.of_bench(bench_stage_, variants);
    const StageState state = run_.state(bench_stage_.name, inputs);
    if (!announce(bench_stage_, state)) {
      timings_ = state.record.metrics;
      return;
    }
    run_.begin(bench_stage_.name, inputs, state);
    const auto start = std::chrono::steady_clock::now();
    std::vector<Graph> graphs;
    for (const StageSpec* variant : variants)
      graphs.push_back(open_model(inputs_.model_of(variant->name)).graph.to(bench_.device()));
    std::vector<const Graph*> pointers;
    for (const Graph& graph : graphs) pointers.push_back(&graph);
    const Json& options = bench_stage_.options;
    const std::vector<Timing> timings = benchmark(
        pointers,
        {.batch = options.at("batch"), .seconds = options.at("seconds"), .rounds = options.at("rounds")});
    for (size_t i = 0; i < variants.size(); ++i)
      timings_[variants[i]->name] = {
          {"latency_ms",
           {{"median", timings[i].median_ms}, {"p95", timings[i].p95_ms}, {"runs", timings[i].runs}}},
          {"images_per_second", timings[i].images_per_second},
          {"arena_bytes", timings[i].arena_bytes},
          {"packed_bytes", timings[i].packed_bytes}};
    run_.finish(bench_stage_.name, {.inputs = inputs, .metrics = timings_, .seconds = seconds_since(start)},
                {});
  }

  Json write_result(double seconds) {
    Json result = {{"recipe", recipe_.name},
                   {"version", kVersion},
                   {"task", bench_.task().name()},
                   {"metric", bench_.metric_name()},
                   {"device", bench_.device_name()},
                   {"processor", bench_.processor()},
                   {"threads", bench_.threads()},
                   {"seed", recipe_.seed},
                   {"throughput_batch", bench_stage_.options.at("batch")},
                   {"seconds", seconds},
                   {"variants", Json::object()},
                   {"stages", Json::object()}};
    for (const StageSpec& stage : recipe_.stages) {
      if (stage.kind == "bench") continue;
      const StageRecord& record = records_.at(stage.name);
      Json entry = record.metrics;
      entry["kind"] = stage.kind;
      entry["seconds"] = record.seconds;
      if (!is_variant(recipe_, stage)) {
        result["stages"][stage.name] = std::move(entry);
        continue;
      }
      if (const std::string source = source_of(recipe_, stage); !source.empty()) entry["source"] = source;
      entry["model"] = stage.name + "/" + kModelFile;
      if (timings_.contains(stage.name)) entry.update(timings_.at(stage.name));
      result["variants"][stage.name] = std::move(entry);
    }
    result["expect"] = Json::array();
    for (const Checked& checked : check_bounds(recipe_.expect, result))
      result["expect"].push_back({{"bound", checked.key},
                                  {"value", checked.value},
                                  {"expected", checked.bounds},
                                  {"holds", checked.holds},
                                  {"place", checked.place}});
    write_atomically(run_.root() / "result.json", result.dump(2) + "\n");
    return result;
  }

  const Recipe& recipe_;
  RunFolder run_;
  Workbench bench_;
  StageInputs inputs_;
  StageSpec bench_stage_;
  std::map<std::string, StageRecord> records_;
  Json timings_ = Json::object();
  int number_ = 0, total_ = 0;
};

}  // namespace

Json run_stages(const Recipe& recipe, const fs::path& out) { return Runner(recipe, out).stages(); }

Json run_recipe(const Recipe& recipe, const fs::path& out) { return Runner(recipe, out).run(); }

}  // namespace espalier
