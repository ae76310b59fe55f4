// Pruning: what to keep, the cut, and the norms' statistics measured anew.

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "compress/prune.h"
#include "io/file.h"
#include "kernels/channel_block.h"
#include "recipe/benchmark.h"
#include "recipe/open_model.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"

namespace espalier {

namespace {

std::optional<double> number_of(const Json& options, const char* key) {
  if (options.at(key).is_null()) return {};
  return options.at(key).get<double>();
}

double percent(int64_t part, int64_t whole) {
  return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

/// The metric on val right after a cut; before, after: the recalibration of the norms. Null without one.
struct Recalibration {
  Json before, after;
};

Recalibration recalibrate(const StageJob& job, Model& model) {
  const int64_t batches = job.stage.options.at("recalibrate");
  if (batches == 0) return {};
  const double before = evaluate_model(job.bench, model, "val").at("value");
  const auto source = job.bench.training_batches(job.bench.recipe().data.batch);
  Graph there = model.graph.to(job.bench.device());
  const int64_t used = recalibrate_batch_norms(there, *source, batches);
  model.graph = there.to(Device::kCpu);
  const double after = evaluate_model(job.bench, model, "val").at("value");
  spdlog::info("{}: val {} {:.1f} % right after the cut, {:.1f} % with the norms' statistics of {} batches",
               job.stage.name, job.bench.metric_name(), 100 * before, 100 * after, used);
  return {before, after};
}

/// Latencies are measured where the budget is one: the two networks in turns, for noise to be fair.
void write_selection(const StageJob& job, const PruningPlan& plan, const Graph& before, const Graph& after,
                     const Recalibration& recalibration) {
  Json file = {{"format", "espalier-selection"}, {"version", 1}};
  file.update(to_json(plan));
  for (const char* key : {"before", "after"}) file[key]["latency_ms"] = nullptr;
  if (has_latency_budget(job.stage.options)) {
    const Graph whole = before.to(job.bench.device()), cut = after.to(job.bench.device());
    const std::vector<Timing> timings = benchmark({&whole, &cut}, {.batch = 0});
    file["before"]["latency_ms"] = timings[0].median_ms;
    file["after"]["latency_ms"] = timings[1].median_ms;
    spdlog::info("{}: {:.3f} ms at batch 1 before the cut, {:.3f} ms after it, {:.3f} ms predicted",
                 job.stage.name, timings[0].median_ms, timings[1].median_ms, *plan.latency_after);
  }
  file["metric_before_recalibration"] = recalibration.before;
  file["metric_after_recalibration"] = recalibration.after;
  write_atomically(job.selection, file.dump(2) + "\n");
}

}  // namespace

int channel_multiple(const Json& options, Device device) {
  const Json& multiple = options.at("keep_multiple_of");
  return multiple == "auto" ? kernels::channel_block(device) : multiple.get<int>();
}

SelectOptions select_options(const Json& options, const Model& model, Device device) {
  return {.tolerance = number_of(options, "tolerance"),
          .keep_macs = number_of(options, "keep_macs"),
          .keep_parameters = number_of(options, "keep_parameters"),
          .keep_bytes = number_of(options, "keep_bytes"),
          .keep_latency = number_of(options, "keep_latency"),
          .latency_ms = number_of(options, "latency_ms"),
          .rule = selection_rule_from_name(options.at("rule")),
          .criterion = options.at("criterion").is_null() ? "" : options.at("criterion").get<std::string>(),
          .keep_multiple_of = channel_multiple(options, device),
          .halve_for_narrow = options.at("keep_multiple_of") == "auto",
          .min_channels = options.at("min_channels"),
          .max_ratio = options.at("max_ratio"),
          .groups = group_filter(options, model)};
}

namespace {

/// Shares of another model as shares of this one.
void refer_to(const Cost& whole, const Cost& now, SelectOptions& o) {
  for (const auto& [share, counts] : {std::pair{&o.keep_macs, &Cost::macs},
                                      {&o.keep_parameters, &Cost::parameters},
                                      {&o.keep_bytes, &Cost::bytes}})
    if (*share)
      **share =
          std::min(1.0, **share * static_cast<double>(whole.*counts) / static_cast<double>(now.*counts));
}

}  // namespace

bool has_latency_budget(const Json& options) {
  return !options.at("keep_latency").is_null() || !options.at("latency_ms").is_null();
}

namespace {

/// Curves of a part of the images name what they cannot decide, which is measured on all.
PruningPlan select_on_all_images(const StageJob& job, const Model& model, const SelectOptions& select,
                                 const LatencyTable* latencies, Sensitivity& sensitivity) {
  const StageSpec* measured = job.bench.recipe().find(job.stage.options.at("sensitivity"));
  if (!job.stage.options.at("refine") || !measured || job.folder.empty())
    return select_channels(model.graph, sensitivity, select, latencies);
  const auto all = job.bench.evaluation_batches(measured->options.at("list"), model.preprocessing,
                                                job.bench.recipe().data.batch);
  if (all->samples() <= sensitivity.samples)
    return select_channels(model.graph, sensitivity, select, latencies);
  const auto task = job.bench.task_of(model);
  PruningPlan plan = select_channels_refined(model.graph.to(job.bench.device()), *task, *all,
                                             job.folder / kRefinedFile, sensitivity, select, latencies);
  int64_t points = 0;
  for (const GroupSensitivity& group : sensitivity.groups)
    points += std::count_if(group.points.begin(), group.points.end(),
                            [](const SensitivityPoint& p) { return p.samples > 0; });
  spdlog::info("{}: the decision depends on {} points, which were measured again on {} images",
               job.stage.name, points, all->samples());
  return plan;
}

}  // namespace

Json prune_stage(const StageJob& job) {
  Model model = load_float_model(job.model_in, job.stage.kind);
  const Json& options = job.stage.options;
  Sensitivity sensitivity = load_sensitivity(job.sensitivity);
  const std::string place = job.sensitivity.string();
  // DEFAULT was measured on other weights of the same network; anything else must be of this very model.
  if (options.at("sensitivity") == "DEFAULT")
    check_same_groups(sensitivity, model.graph, place);
  else
    check_same_model(sensitivity, model.graph, place);
  std::optional<LatencyTable> latencies;
  if (has_latency_budget(options))
    latencies = latency_table(model.graph.to(job.bench.device()), job.latencies, job.bench.machine());
  SelectOptions select = select_options(options, model, job.bench.device());
  if (!job.whole.empty()) refer_to(cost(open_model(job.whole).graph), cost(model.graph), select);
  const PruningPlan plan =
      select_on_all_images(job, model, select, latencies ? &*latencies : nullptr, sensitivity);
  spdlog::info("pruning:\n{}", describe(plan));
  if (plan.after.parameters == plan.before.parameters) {
    const std::optional<double> enough = tolerance_that_removes(model.graph, sensitivity, select);
    spdlog::warn("{}: nothing is removed: {}", job.stage.name,
                 !select.tolerance ? "the network is within the budget as it is"
                 : enough ? fmt::format("every group loses more than the tolerance of {:g} with its first "
                                        "step; with {:.4f} one does not",
                                        *select.tolerance, std::ceil(1e4 * *enough) / 1e4)
                          : "no group may be cut as far as its first measured point; lower "
                            "keep_multiple_of or min_channels");
  }
  const Graph before = model.graph;
  model.graph = prune(model.graph, plan);
  const Recalibration recalibration = recalibrate(job, model);
  write_selection(job, plan, before, model.graph, recalibration);
  add_lineage(model, job, {{"sensitivity", file_hash(job.sensitivity)}, {"plan", to_json(plan)}});
  model.metrics = Json::object();  // those of the unpruned network
  save_model(job.model_out, model);
  return {
      {"recalibration", {{"before", recalibration.before}, {"after", recalibration.after}}},
      {"summary",
       fmt::format("MACs {:.1f} M of {:.1f} M ({:.1f} %), parameters {} of {} ({:.1f} %)",
                   static_cast<double>(plan.after.macs) / 1e6, static_cast<double>(plan.before.macs) / 1e6,
                   percent(plan.after.macs, plan.before.macs), plan.after.parameters, plan.before.parameters,
                   percent(plan.after.parameters, plan.before.parameters))}};
}

}  // namespace espalier
