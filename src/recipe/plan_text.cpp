// What a run would do, for --dry-run.

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "recipe/run.h"
#include "recipe/run_folder.h"
#include "recipe/stage_inputs.h"

namespace espalier {

namespace fs = std::filesystem;

std::string plan_text(const Recipe& recipe, const fs::path& out) {
  Workbench bench(recipe);
  check_plan(bench);
  StageInputs inputs(bench, out);
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
    std::string how = word_of(StageState::What::kNew);
    StageState state = stage_state(out, stage.name, now);
    if (waits && state.what != StageState::What::kNew) {
      how = "runs again after what it is made from";
    } else if (!waits) {
      how = word_of(state.what);
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

}  // namespace espalier
