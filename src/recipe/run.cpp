#include "recipe/run.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/version.h"
#include "compress/sensitivity.h"
#include "graph/cost.h"
#include "io/file.h"
#include "recipe/benchmark.h"
#include "recipe/result.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool makes_model(const StageSpec& stage) { return find_stage_kind(stage.kind)->writes_model; }

/// A row of the table: every model but those that are only cut and then retrained.
bool is_variant(const Recipe& recipe, const StageSpec& stage) {
  if (!makes_model(stage)) return false;
  const StageSpec* from = recipe.find(stage.from);
  const bool between_cuts = stage.kind == "train" && from && from->kind == "prune";
  if (stage.kind != "prune" && !between_cuts) return true;
  return std::none_of(recipe.stages.begin(), recipe.stages.end(), [&](const StageSpec& other) {
    if (other.from != stage.name) return false;
    return between_cuts ? other.kind == "prune" && !other.options.at("share_of").is_null()
                        : other.kind == "train";
  });
}

/// The nearest ancestor that is a row of the table; empty for the first.
std::string source_of(const Recipe& recipe, const StageSpec& stage) {
  for (const StageSpec* at = recipe.find(stage.from); at; at = recipe.find(at->from))
    if (is_variant(recipe, *at)) return at->name;
  return "";
}

StageSpec bench_stage_of(const Recipe& recipe) {
  for (const StageSpec& stage : recipe.stages)
    if (stage.kind == "bench") return stage;
  StageSpec stage;
  stage.kind = stage.name = "bench";
  Document none;
  stage.options = check_section(none, "", Json::object(), find_stage_kind("bench")->keys);
  stage.options.erase("name");
  return stage;
}

const char* kStateWords[] = {"done", "continues", "runs again", "runs", "taken back"};

/// What a train stage learns from; empty for most.
std::string teacher_name(const StageSpec& stage) {
  return stage.options.contains("distill") ? stage.options.at("distill").at("from").get<std::string>() : "";
}

/// Where the stages of one recipe stand in one folder.
class Inputs {
 public:
  Inputs(Workbench& bench, const fs::path& out) : bench_(bench), recipe_(bench.recipe()), out_(out) {}

  /// For a plan: the stage's folder is NAME.old until it is taken back.
  void set_aside(const std::string& stage) { aside_.insert(stage); }

  fs::path model_of(const std::string& from) const {
    if (from == "scratch") return {};
    return recipe_.find(from) ? folder_of(from) / kModelFile : fs::path(from);
  }

  fs::path teacher_of(const StageSpec& stage) const {
    const std::string name = teacher_name(stage);
    return name.empty() ? fs::path() : model_of(name);
  }

  /// What a prune stage's shares are of; empty where it is the model that is cut.
  fs::path whole_of(const StageSpec& stage) const {
    if (stage.kind != "prune" || stage.options.at("share_of").is_null()) return {};
    return model_of(stage.options.at("share_of"));
  }

  fs::path sensitivity_of(const StageSpec& stage) const {
    if (stage.kind != "prune") return {};
    const std::string name = stage.options.at("sensitivity");
    return recipe_.find(name)  ? folder_of(name) / kSensitivityFile
           : name == "DEFAULT" ? default_sensitivities(recipe_.model.name)
                               : fs::path(name);
  }

  /// What a stage is made from. A file that is not there yet counts as nothing.
  Json of(const StageSpec& stage) const {
    Json inputs = {{"kind", stage.kind}, {"options", stage.options}, {"seed", recipe_.seed}};
    if (stage.from == "scratch") {
      inputs["model"] = recipe_.complete.at("model");
      if (!recipe_.weights.empty()) inputs["weights"] = hash(recipe_.weights);
    } else {
      inputs["model"] = hash(model_of(stage.from));
    }
    if (!recipe_.task_options.empty()) inputs["task"] = recipe_.task_options;
    if (stage.kind == "prune") {
      inputs["sensitivity"] = hash(sensitivity_of(stage));
      if (stage.options.at("keep_multiple_of") == "auto")
        inputs["multiple"] = channel_multiple(stage.options, bench_.device());
      if (has_latency_budget(stage.options)) inputs["machine"] = bench_.machine();
      if (const fs::path whole = whole_of(stage); !whole.empty()) inputs["whole"] = hash(whole);
    }
    if (const fs::path teacher = teacher_of(stage); !teacher.empty()) inputs["teacher"] = hash(teacher);
    if (stage.kind == "train") {
      inputs["train"] = bench_.data_hash("train");
      if (stage.options.at("batch").is_null()) inputs["options"]["batch"] = recipe_.data.batch;
    }
    if (stage.kind == "sensitivity" || stage.kind == "int8")
      inputs["list"] = bench_.data_hash(stage.options.at("list"));
    if (stage.kind == "int8") inputs["measured"] = bench_.data_hash(stage.options.at("measure_on"));
    inputs["val"] = bench_.data_hash("val");
    if (bench_.has_test() && is_variant(recipe_, stage)) inputs["test"] = bench_.data_hash("test");
    return inputs;
  }

  Json of_bench(const StageSpec& stage, const std::vector<const StageSpec*>& variants) const {
    Json models = Json::object();
    for (const StageSpec* variant : variants) models[variant->name] = hash(model_of(variant->name));
    Json inputs = {{"kind", "bench"}, {"options", stage.options}};
    inputs.update(bench_.machine());
    inputs["models"] = models;
    return inputs;
  }

 private:
  Json hash(const fs::path& file) const { return fs::exists(file) ? Json(file_hash(file)) : Json(nullptr); }

  fs::path folder_of(const std::string& stage) const {
    return out_ / (aside_.contains(stage) ? stage + ".old" : stage);
  }

  Workbench& bench_;
  const Recipe& recipe_;
  fs::path out_;
  std::set<std::string> aside_;
};

std::vector<const StageSpec*> variants_of(const Recipe& recipe) {
  std::vector<const StageSpec*> variants;
  for (const StageSpec& stage : recipe.stages)
    if (is_variant(recipe, stage)) variants.push_back(&stage);
  return variants;
}

std::vector<const StageSpec*> benched(const Recipe& recipe, const StageSpec& bench) {
  if (bench.options.at("models").is_null()) return variants_of(recipe);
  std::vector<const StageSpec*> stages;
  for (const std::string name : bench.options.at("models")) stages.push_back(recipe.find(name));
  return stages;
}

std::string headline(const Recipe& recipe, const StageSpec& stage) {
  std::string text = stage.kind == stage.name ? stage.name : stage.name + ": " + stage.kind;
  if (!stage.from.empty())
    text +=
        " from " + (stage.from == "scratch" && !recipe.weights.empty() ? recipe.weights.filename().string()
                                                                       : stage.from);
  const auto say = [&](const char* key, const char* words) {
    if (stage.options.contains(key) && !stage.options.at(key).is_null())
      text += fmt::format(fmt::runtime(words), stage.options.at(key).dump());
  };
  say("epochs", ", {} epochs");
  if (const std::string teacher = teacher_name(stage); !teacher.empty()) text += ", taught by " + teacher;
  say("keep_macs", ", keep {} of the MACs");
  say("keep_parameters", ", keep {} of the parameters");
  say("keep_bytes", ", keep {} of the bytes");
  say("keep_latency", ", keep {} of the latency");
  say("latency_ms", ", at most {} ms");
  say("tolerance", ", tolerance {}");
  say("ratios", ", ratios {}");
  say("calibrator", ", calibrator {}");
  return text;
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
    std::string how = kStateWords[static_cast<int>(state.what)];
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
    std::vector<std::string> outputs = {makes_model(stage) ? kModelFile : kSensitivityFile};
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
    const Model model = load_model(file);
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
      graphs.push_back(load_model(inputs_.model_of(variant->name)).graph.to(bench_.device()));
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
  Inputs inputs_;
  StageSpec bench_stage_;
  std::map<std::string, StageRecord> records_;
  Json timings_ = Json::object();
  int number_ = 0, total_ = 0;
};

}  // namespace

std::string plan_text(const Recipe& recipe, const fs::path& out) {
  Workbench bench(recipe);
  check_plan(bench);
  Inputs inputs(bench, out);
  std::vector<std::string> pending;  // stages that will run, whose models are not known yet
  std::string text = fmt::format("{}: {} on {} with {} threads, into {}\n", recipe.name, bench.task().name(),
                                 bench.device_name(), bench.threads(), out.string());
  text += bench.data_text() + "\n";
  for (const std::string& note : recipe.document.notes) text += note + "\n";
  int number = 0;
  const auto line = [&](const StageSpec& stage, const std::vector<std::string>& needs, const Json& now) {
    const bool waits = std::any_of(needs.begin(), needs.end(), [&](const std::string& need) {
      return std::find(pending.begin(), pending.end(), need) != pending.end();
    });
    std::string how = kStateWords[static_cast<int>(StageState::What::kNew)];
    StageState state = stage_state(out, stage.name, now);
    if (waits && state.what != StageState::What::kNew) {
      how = "runs again after what it is made from";
    } else if (!waits) {
      how = kStateWords[static_cast<int>(state.what)];
      if (!state.why.empty()) how += ": " + state.why;
    }
    const bool aside = state.what == StageState::What::kSetAside;
    if (aside && !waits) inputs.set_aside(stage.name);
    if (waits || !(aside || state.what == StageState::What::kFinished)) pending.push_back(stage.name);
    text += fmt::format("{:>3}. {} ({})\n", ++number, headline(recipe, stage), how);
  };
  for (const StageSpec& stage : recipe.stages) {
    if (stage.kind == "bench") continue;
    std::vector<std::string> needs = {stage.from};
    if (stage.kind == "prune") needs.push_back(stage.options.at("sensitivity"));
    if (const std::string teacher = teacher_name(stage); !teacher.empty()) needs.push_back(teacher);
    line(stage, needs, inputs.of(stage));
  }
  const StageSpec bench_stage = bench_stage_of(recipe);
  std::vector<std::string> needs;
  const std::vector<const StageSpec*> variants = benched(recipe, bench_stage);
  for (const StageSpec* variant : variants) needs.push_back(variant->name);
  line(bench_stage, needs, inputs.of_bench(bench_stage, variants));
  for (const Bound& bound : recipe.expect)
    text += fmt::format("expects {}.{}{}{}\n", bound.variant, bound.quantity,
                        bound.min ? fmt::format(" at least {:g}", *bound.min) : "",
                        bound.max ? fmt::format(" at most {:g}", *bound.max) : "");
  return text;
}

Json run_stages(const Recipe& recipe, const fs::path& out) { return Runner(recipe, out).stages(); }

Json run_recipe(const Recipe& recipe, const fs::path& out) { return Runner(recipe, out).run(); }

}  // namespace espalier
