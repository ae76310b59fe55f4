#include "recipe/report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "base/version.h"
#include "io/file.h"
#include "kernels/device.h"
#include "recipe/open_model.h"
#include "recipe/result.h"
#include "recipe/run_folder.h"
#include "report/page.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

constexpr int kKeptForm = 3;        ///< of trade_off.json and examples.json; files of another are made anew
constexpr int kLargestMatrix = 40;  ///< classes; of more, the most frequent confusions are shown

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  for (const char c : line) {
    if (c == ',')
      cells.emplace_back();
    else
      cells.back() += c;
  }
  return cells;
}

/// epochs.csv, which holds numbers alone, as columns: {"epoch": [...], "loss": [...], ...}; an empty cell is
/// null.
Json columns_of(const fs::path& csv) {
  std::istringstream in(read_file(csv));
  std::string line;
  std::getline(in, line);
  const std::vector<std::string> names = cells_of(line);
  Json columns = Json::object();
  for (const std::string& name : names) columns[name] = Json::array();
  while (std::getline(in, line)) {
    const std::vector<std::string> cells = cells_of(line);
    ESPALIER_CHECK(cells.size() == names.size(), csv.string(), ": a line has ", cells.size(),
                   " cells and the first ", names.size(), "; run the stage again");
    for (size_t i = 0; i < cells.size(); ++i) {
      const Json value = parse_json(cells[i]);
      columns[names[i]].push_back(value.is_number() ? value : Json(nullptr));
    }
  }
  return columns;
}

/// A confusion matrix that is too large to look at becomes the list of what is most often taken for what.
void shorten(Json& details) {
  if (!details.contains("confusion") || details.at("confusion").size() <= kLargestMatrix) return;
  constexpr size_t kPairs = 30;
  Json pairs = Json::array();
  const Json& matrix = details.at("confusion");
  for (size_t is = 0; is < matrix.size(); ++is) {
    int64_t all = 0;
    for (const Json& count : matrix[is]) all += count.get<int64_t>();
    for (size_t as = 0; as < matrix.size(); ++as)
      if (const auto count = matrix[is][as].get<int64_t>(); as != is && count > 0)
        pairs.push_back({{"is", is}, {"taken_for", as}, {"count", count}, {"of", all}});
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Json& a, const Json& b) { return a.at("count") > b.at("count"); });
  if (pairs.size() > kPairs) pairs.erase(pairs.begin() + kPairs, pairs.end());
  details.erase("confusion");
  details["worst"] = pairs;
}

/// Tolerances as people would write them, dense where they matter: 0 to 0.5.
std::vector<double> tolerances() {
  std::vector<double> all;
  for (int i = 0; i < 30; ++i) all.push_back(i / 1000.0);
  for (int i = 6; i < 20; ++i) all.push_back(i / 200.0);
  for (int i = 10; i <= 50; ++i) all.push_back(i / 100.0);
  return all;
}

/// One run, while its parts are collected.
class Collector {
 public:
  Collector(const fs::path& run, const ReportOptions& options)
      : run_(run), options_(options), result_(read_result(run)) {
    for (const char* part : {"variants", "stages"})
      for (auto& [name, stage] : result_[part].items()) {
        stage.erase("epochs");
        stages_.push_back(name);
        kinds_[name] = stage.value("kind", "");
        if (const fs::path record = run_ / name / "stage.json"; fs::exists(record))
          records_[name] = read_run_file(record);
      }
    // Timings are to be comparable with those of the run.
    if (const fs::path recipe = run_ / "recipe.json"; fs::exists(recipe))
      kernels::set_threads(read_run_file(recipe).value("threads", 0));
  }

  Json collect() {
    Json data = {{"name", fs::absolute(run_).lexically_normal().filename().string()},
                 {"missing", Json::array()}};
    data["training"] = training();
    if (data["training"].empty()) lacks("Training curves", "a train stage writes them");
    data["sensitivities"] = sensitivities();
    data["tradeoffs"] = trade_offs();
    if (data["sensitivities"].empty())
      lacks("Sensitivity and trade-off", "add the stage `- sensitivity: {from: STAGE}` to the recipe");
    data["cuts"] = cuts();
    if (data["cuts"].empty()) lacks("Channels before and after", "add a prune stage to the recipe");
    data["layer_errors"] = layer_errors();
    if (data["layer_errors"].empty())
      lacks("INT8 error per layer",
            has("int8") ? "the int8 stages of this run left no layer_errors.json; run the recipe again"
                        : "add an int8 stage to the recipe");
    data["evaluation"] = evaluations();
    if (data["evaluation"].empty())
      lacks("Confusion matrix", "the stages' evaluation.json are gone; run the recipe again");
    data["labels"] = labels();
    data["examples"] = examples();
    data["missing"] = missing_;
    data["result"] = std::move(result_);
    return data;
  }

 private:
  void lacks(const std::string& section, const std::string& text) {
    missing_.push_back({{"section", section}, {"text", text}});
  }
  bool has(const std::string& kind) const {
    return std::any_of(kinds_.begin(), kinds_.end(), [&](const auto& entry) { return entry.second == kind; });
  }

  /// What a stage noted of itself; null for what it did not.
  Json noted(const std::string& stage, const std::string& path) const {
    if (!records_.contains(stage)) return nullptr;
    const Json::json_pointer at(path);
    return records_.at(stage).contains(at) ? records_.at(stage).at(at) : Json(nullptr);
  }

  /// The stage whose output file has this hash; empty if there is none.
  std::string maker_of(const Json& hash, const std::string& file) const {
    for (const std::string& stage : stages_)
      if (hash.is_string() && noted(stage, "/outputs/" + file) == hash) return stage;
    return "";
  }
  std::string source_of(const std::string& stage) const {
    return maker_of(noted(stage, "/inputs/model"), kModelFile);
  }

  /// What a prune stage decided; null when it left nothing.
  Json selection_of(const std::string& stage) const {
    const fs::path file = run_ / stage / kSelectionFile;
    return fs::exists(file) ? read_run_file(file, "espalier-selection") : Json(nullptr);
  }

  Json training() const {
    Json all = Json::array();
    for (const std::string& stage : stages_)
      if (const fs::path csv = run_ / stage / "epochs.csv"; fs::exists(csv))
        all.push_back({{"stage", stage}, {"columns", columns_of(csv)}});
    return all;
  }

  Json sensitivities() const {
    Json all = Json::array();
    for (const std::string& stage : stages_)
      if (const fs::path file = run_ / stage / kSensitivityFile; fs::exists(file))
        all.push_back({{"stage", stage}, {"from", source_of(stage)}, {"file", read_run_file(file)}});
    return all;
  }

  struct PruneOptions {
    Json options;
    std::string line;  ///< of a recipe, with @ for the tolerance
    Json chosen;       ///< the tolerance that the stage found or was given; null
  };
  /// The options of the first prune stage that reads these sensitivities, else the defaults; with a tolerance
  /// in place of its budget.
  PruneOptions prune_options(const std::string& sensitivity) const {
    Document none;
    Json defaults = check_section(none, "", Json::object(), find_stage_kind("prune")->keys);
    Json options = defaults;
    std::string name;
    for (const std::string& stage : stages_) {
      if (kinds_.at(stage) != "prune" && noted(stage, "/inputs/kind") != "prune") continue;
      if (maker_of(noted(stage, "/inputs/sensitivity"), kSensitivityFile) != sensitivity) continue;
      options.update(noted(stage, "/inputs/options"));
      name = stage;
      break;
    }
    std::string extra;
    options["rule"] = defaults.at("rule");  // a tolerance knows no other
    for (auto& [key, value] : options.items()) {
      if (std::find(kBudgetKeys.begin(), kBudgetKeys.end(), key) != kBudgetKeys.end()) value = nullptr;
      const bool ours = key == "name" || key == "from" || key == "sensitivity" || key == "tolerance" ||
                        key == "rule" || key == "share_of";
      if (!ours && !value.is_null() && value != defaults.value(key, Json(nullptr)))
        extra += ", " + key + ": " + value.dump();
    }
    const std::string line =
        fmt::format("- prune: {{{}from: {}, sensitivity: {}, tolerance: @{}}}",
                    name.empty() ? "" : "name: " + name + ", ", source_of(sensitivity), sensitivity, extra);
    const Json selection = name.empty() ? Json(nullptr) : selection_of(name);
    // Where a part of what tolerance 0 allows was enough, no tolerance makes that cut.
    const bool part = !selection.is_null() && selection.value("cut_share", 1.0) < 1;
    return {options, line, selection.is_null() || part ? Json(nullptr) : selection.at("tolerance")};
  }

  /// The run's, where it can be had.
  Device device() const {
    return result_.at("device") == "cuda" && kernels::cuda_available() ? Device::kCuda : Device::kCpu;
  }

  Json trade_offs() {
    Json all = Json::array();
    for (const std::string& stage : stages_) {
      const fs::path file = run_ / stage / kSensitivityFile,
                     model_file = run_ / source_of(stage) / kModelFile;
      if (!fs::exists(file)) continue;
      if (source_of(stage).empty() || !fs::exists(model_file)) {
        lacks("What a tolerance keeps",
              "the model that stage " + stage + " measured is gone; run the recipe again");
        continue;
      }
      const auto [options, line, chosen] = prune_options(stage);
      Json entry = kept_in("trade_off.json", stage,
                           {{"sensitivity", file_hash(file)},
                            {"options", options},
                            {"seconds", options_.seconds},
                            {"device", name(device())},
                            {"threads", kernels::threads()}},
                           [&, &options = options] {
                             const Model model = open_model(model_file);
                             const SelectOptions select = select_options(options, model, device());
                             return trade_off(model.graph, load_sensitivity(file), select, tolerances(),
                                              options_.seconds, device());
                           });
      entry["stage"] = stage;
      entry["from"] = source_of(stage);
      entry["line"] = line;
      entry["chosen"] = chosen;
      all.push_back(std::move(entry));
    }
    return all;
  }

  /// From a file of the run when it was made from `key`, else made now and put there.
  template <class Make>
  Json kept_in(const char* file, const std::string& part, const Json& key, const Make& make) const {
    Json kept = Json::object();
    if (fs::exists(run_ / file)) kept = parse_json(read_file(run_ / file));
    if (!kept.is_object()) kept = Json::object();  // made anew, as when it is not there
    Json full = key;
    full["version"] = kVersion;
    full["form"] = kKeptForm;
    const Json before = kept.value(part, Json());
    if (!before.is_object() || before.value("key", Json()) != full || !before.contains("value")) {
      kept[part] = {{"key", full}, {"value", make()}};
      write_atomically(run_ / file, kept.dump() + "\n");
    }
    return kept.at(part).at("value");
  }

  Json cuts() const {
    Json all = Json::array();
    for (const std::string& stage : stages_) {
      if (!fs::exists(run_ / stage / kSelectionFile)) continue;
      Json cut = selection_of(stage);
      cut.at("groups");  // a file without them is damaged
      cut["stage"] = stage;
      cut["from"] = source_of(stage);
      cut["value"] = noted(stage, "/metrics/val/value");
      all.push_back(std::move(cut));
    }
    return all;
  }

  Json layer_errors() const {
    Json all = Json::array();
    for (const std::string& stage : stages_)
      if (const fs::path file = run_ / stage / "layer_errors.json"; fs::exists(file)) {
        Json errors = read_run_file(file, "espalier-layer-errors");
        errors["stage"] = stage;
        all.push_back(std::move(errors));
      }
    return all;
  }

  Json evaluations() const {
    Json all = Json::object();
    for (const auto& [name, variant] : result_.at("variants").items())
      if (const fs::path file = run_ / name / kEvaluationFile; fs::exists(file)) {
        all[name] = read_run_file(file);
        for (Json& measured : all[name])
          if (measured.contains("details")) shorten(measured["details"]);
      }
    return all;
  }

  /// The models that are still there, in order of the table.
  std::vector<std::pair<std::string, fs::path>> models() const {
    std::vector<std::pair<std::string, fs::path>> all;
    for (const auto& [name, variant] : result_.at("variants").items())
      if (const fs::path file = run_ / name / kModelFile; fs::exists(file)) all.emplace_back(name, file);
    return all;
  }

  Json labels() const {
    return models().empty() ? Json::array() : Json(open_model(models()[0].second).labels);
  }

  Json examples() {
    if (options_.pictures == 0) {
      lacks("Example predictions", "left out by --pictures 0");
      return nullptr;
    }
    Json key = {{"pictures", options_.pictures}, {"models", Json::object()}};
    for (const auto& [name, file] : models()) key["models"][name] = file_hash(file);
    if (key["models"].empty()) {
      lacks("Example predictions", "the models of the run are gone; run the recipe again");
      return nullptr;
    }
    key["data"] = noted(models()[0].first, "/inputs/val");
    try {
      return kept_in("examples.json", "val", key, [&] {
        const Recipe recipe = data_of_run(run_);
        Workbench bench(recipe);
        return example_predictions(bench, models(), options_.pictures);
      });
    } catch (const Error& e) {
      lacks("Example predictions", std::string(e.what()) +
                                       " (they need the data of the run: start where the run was "
                                       "started)");
      return nullptr;
    }
  }

  fs::path run_;
  ReportOptions options_;
  Json result_;
  std::vector<std::string> stages_;  ///< rows of the table, then the others
  std::map<std::string, std::string> kinds_;
  std::map<std::string, Json> records_;
  Json missing_ = Json::array();
};

}  // namespace

Json read_run_file(const fs::path& file, const std::string& format) {
  Json json = parse_json(read_file(file));
  ESPALIER_CHECK(json.is_object(), file.string(), ": is damaged, it is no JSON object; run the recipe again");
  ESPALIER_CHECK(
      format.empty() || (json.value("format", Json()) == format && json.value("version", Json()) == 1),
      file.string(), ": is no file of format ", format, ", version 1; run the recipe again");
  return json;
}

Json report_data(const fs::path& run, const ReportOptions& options) {
  try {
    return Collector(run, options).collect();
  } catch (const Json::exception& e) {
    fail(str(run.string(), ": a file of the run lacks something (", e.what(), "); run the recipe again"));
  }
}

void write_report(const std::vector<fs::path>& runs, const fs::path& file, const ReportOptions& options) {
  Json data = {{"format", "espalier-report"}, {"version", kVersion}, {"runs", Json::array()}};
  for (const fs::path& run : runs) {
    data["runs"].push_back(report_data(run, options));
    const Json &first = data["runs"][0]["result"]["metric"], &last = data["runs"].back()["result"]["metric"];
    ESPALIER_CHECK(first == last, runs[0].string(), " is measured by ", first.get<std::string>(), " and ",
                   run.string(), " by ", last.get<std::string>(), "; compare runs of one metric");
  }
  // Two runs of one name are told apart by what stands above them.
  for (size_t i = 0; i < runs.size(); ++i)
    for (size_t j = 0; j < runs.size(); ++j)
      if (i != j && data["runs"][i]["name"] == data["runs"][j]["name"]) {
        const fs::path path = fs::absolute(runs[i]).lexically_normal();
        data["runs"][i]["name"] = path.parent_path().filename().string() + "/" + path.filename().string();
      }
  write_atomically(file, report_page(data));
}

}  // namespace espalier
