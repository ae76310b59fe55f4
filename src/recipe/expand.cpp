#include "recipe/expand.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "compress/select.h"
#include "recipe/recipe.h"

namespace espalier {

namespace {

/// A stage as it was written, {kind: options}, and where.
struct Entry {
  std::string kind, name;
  Json options;
  std::string path;  ///< in the document as it was read, "stages.3"

  Json json() const { return {{kind, options}}; }
};

/// 0.4 of a share is "40", 2.5 ms is "2_5".
std::string suffix_of(const std::string& key, double budget) {
  std::string text = fmt::format("{:g}", key == "latency_ms" ? budget : 100 * budget);
  std::replace(text.begin(), text.end(), '.', '_');
  return "_" + text;
}

class Expansion {
 public:
  explicit Expansion(Document& document) : document_(document) {}

  void run() {
    Json& stages = document_.root.at("stages");
    for (size_t i = 0; i < stages.size(); ++i) add(str("stages.", i), stages[i]);
    if (!changed_) return;
    rewrite_stages();
    rewrite_bounds();
  }

 private:
  void add(const std::string& path, const Json& given) {
    Entry entry{.path = path};
    if (given.is_string()) {
      entry.kind = given.get<std::string>();
      entry.options = Json::object();
    } else if (given.is_object() && given.size() == 1) {
      entry.kind = given.begin().key();
      entry.options = given.begin().value().is_null() ? Json::object() : given.begin().value();
    }
    const StageKind* kind = find_stage_kind(entry.kind);
    // What is no stage is left to the reader, who says so.
    if (!kind || !entry.options.is_object()) return done_.push_back({.options = given, .path = path});
    entry.name = text_of(entry, "name", entry.kind);
    for (Entry& one : targets_of(entry)) {
      const std::string name = one.name;
      rounds_of(std::move(one));
      if (kind->writes_model) last_model_ = name;
      if (entry.kind == "sensitivity") last_sensitivity_ = name;
    }
    if (targets_.contains(entry.name)) {
      if (kind->writes_model) last_model_ = entry.name;
      if (entry.kind == "sensitivity") last_sensitivity_ = entry.name;
    }
    if (entry.options.contains("models") && entry.options.at("models").is_array())
      expand_models(done_.back());
  }

  static std::string text_of(const Entry& entry, const std::string& key, const std::string& fallback) {
    const auto found = entry.options.find(key);
    return found != entry.options.end() && found->is_string() ? found->get<std::string>() : fallback;
  }

  /// One entry for each budget, of its own list or of a stage that it reads.
  std::vector<Entry> targets_of(const Entry& entry) {
    std::map<std::string, std::string> reads;  // key -> a stage that stands for several
    const auto look = [&](const std::string& key, const std::string& fallback) {
      const std::string name = text_of(entry, key, fallback);
      if (targets_.contains(name)) reads[key] = name;
    };
    if (entry.kind == "prune") {
      look("sensitivity", last_sensitivity_);
      look("from", "");
    } else if (const StageKind* kind = find_stage_kind(entry.kind); kind->reads_model) {
      look("from", last_model_);
    }
    std::vector<std::string> suffixes;
    std::string list;
    for (const char* key : kBudgetKeys) {
      if (entry.kind != "prune" || !entry.options.contains(key) || !entry.options.at(key).is_array())
        continue;
      list = key;
      const std::string path = entry.path + ".prune." + list;
      if (entry.options.at(key).empty()) document_.fail_at(path, "is an empty list; give one budget or more");
      for (const Json& budget : entry.options.at(key)) {
        if (!budget.is_number()) document_.fail_at(path, "holds " + budget.dump() + "; a budget is a number");
        suffixes.push_back(suffix_of(list, budget));
      }
    }
    for (const auto& [key, name] : reads) {
      if (suffixes.empty()) suffixes = targets_.at(name);
      if (!list.empty() || suffixes != targets_.at(name))
        document_.fail_at(entry.path + "." + entry.kind,
                          "reads '" + name +
                              "', which stands for several stages, and has a list of its own; name one of " +
                              "them: {" + key + ": " + name + targets_.at(name).front() + "}");
    }
    if (suffixes.empty()) return {entry};
    changed_ = true;
    targets_[entry.name] = suffixes;
    std::vector<Entry> entries;
    for (size_t i = 0; i < suffixes.size(); ++i) {
      Entry one = entry;
      one.name = entry.name + suffixes[i];
      one.options["name"] = one.name;
      for (const auto& [key, name] : reads) one.options[key] = name + suffixes[i];
      if (!list.empty()) {
        one.options[list] = entry.options.at(list)[i];
        // What comes next to the list, not to the stages of another budget.
        if (!one.options.contains("sensitivity") && !last_sensitivity_.empty())
          one.options["sensitivity"] = last_sensitivity_;
      }
      entries.push_back(std::move(one));
    }
    return entries;
  }

  /// The entry, with cuts and trainings before it if it says rounds.
  void rounds_of(Entry entry) {
    if (entry.kind != "prune" ||
        !(entry.options.contains("rounds") || entry.options.contains("round_epochs")))
      return done_.push_back(std::move(entry));
    const Json rounds = entry.options.value("rounds", Json(1)),
               epochs = entry.options.value("round_epochs", Json());
    entry.options.erase("rounds");
    entry.options.erase("round_epochs");
    const std::string path = entry.path + ".prune.rounds";
    if (rounds == 1) {
      if (!epochs.is_null())
        document_.fail_at(entry.path + ".prune.round_epochs",
                          "is for pruning in rounds; say rounds: 2 or more");
      return done_.push_back(std::move(entry));
    }
    changed_ = true;
    if (!rounds.is_number_integer() || rounds < 1 || rounds > 20)
      document_.fail_at(path, "is " + rounds.dump() + "; it must be a number of rounds, 1 to 20");
    std::string share;
    for (const char* key : {"keep_macs", "keep_parameters", "keep_bytes"})
      if (entry.options.contains(key) && entry.options.at(key).is_number()) share = key;
    if (share.empty())
      document_.fail_at(path, "needs a share to keep; give keep_macs, keep_parameters or keep_bytes");
    const std::string sensitivity = text_of(entry, "sensitivity", last_sensitivity_);
    const std::string first = text_of(entry, "from", source_of(sensitivity));
    if (first.empty()) document_.fail_at(path, "needs to know what is cut first; give from: STAGE");
    const int count = rounds;
    const double keep = entry.options.at(share);
    const Json curves = sensitivity_options(sensitivity);
    if (!sensitivity.empty()) entry.options["sensitivity"] = sensitivity;
    entry.options["from"] = first;
    for (int round = 1; round < count; ++round) {
      const std::string cut = str(entry.name, "_round", round), next = str(entry.name, "_retrained", round),
                        measured = str(entry.name, "_sensitivity", round + 1);
      Entry prune = entry;
      prune.name = cut;
      prune.options["name"] = cut;
      prune.options[share] = std::pow(keep, static_cast<double>(round) / count);
      prune.options["share_of"] = first;
      done_.push_back(std::move(prune));
      Json training = {{"name", next}, {"from", cut}, {"epochs", epochs.is_null() ? Json(1) : epochs}};
      done_.push_back({.kind = "train", .name = next, .options = std::move(training), .path = entry.path});
      Json options = curves;
      options["name"] = measured;
      options["from"] = next;
      done_.push_back(
          {.kind = "sensitivity", .name = measured, .options = std::move(options), .path = entry.path});
      entry.options["from"] = next;
      entry.options["sensitivity"] = measured;
      entry.options["share_of"] = first;
    }
    done_.push_back(std::move(entry));
  }

  /// What a sensitivity stage reads; empty for files.
  std::string source_of(const std::string& sensitivity) const {
    std::string before = "scratch";
    for (const Entry& entry : done_) {
      if (entry.name == sensitivity && entry.kind == "sensitivity") return text_of(entry, "from", before);
      if (const StageKind* kind = find_stage_kind(entry.kind); kind && kind->writes_model)
        before = entry.name;
    }
    return "";
  }

  /// How the first curves were measured; the usual way where they are a file.
  Json sensitivity_options(const std::string& name) const {
    for (const Entry& entry : done_)
      if (entry.name == name && entry.kind == "sensitivity") return entry.options;
    return Json::object();
  }

  void expand_models(Entry& entry) const {
    Json models = Json::array();
    for (const Json& model : entry.options.at("models")) {
      const auto found = model.is_string() ? targets_.find(model.get<std::string>()) : targets_.end();
      if (found == targets_.end())
        models.push_back(model);
      else
        for (const std::string& suffix : found->second) models.push_back(found->first + suffix);
    }
    entry.options["models"] = models;
  }

  /// The new list, and its places: those of the stage that each stood for.
  void rewrite_stages() {
    Json stages = Json::array();
    std::map<std::string, std::string> places, texts;
    for (const Entry& entry : done_) {
      const std::string to = str("stages.", stages.size());
      for (const auto& [from, moved] : {std::pair{&document_.places, &places}, {&document_.texts, &texts}})
        for (const auto& [path, value] : *from)
          if (path == entry.path || path.starts_with(entry.path + "."))
            (*moved)[to + path.substr(entry.path.size())] = value;
      // Cuts of a round and trainings between them share the line of the stage.
      places[to + "." + entry.kind] = document_.place(entry.path);
      stages.push_back(entry.kind.empty() ? entry.options : entry.json());
    }
    for (const auto& [old, moved] : {std::pair{&document_.places, &places}, {&document_.texts, &texts}}) {
      std::erase_if(*old, [](const auto& place) { return place.first.starts_with("stages."); });
      old->insert(moved->begin(), moved->end());
    }
    document_.root["stages"] = std::move(stages);
  }

  void rewrite_bounds() {
    const auto expect = document_.root.find("expect");
    if (expect == document_.root.end() || !expect->is_object()) return;
    Json bounds = Json::object();
    for (const auto& [key, bound] : expect->items()) {
      const size_t dot = std::min(key.find('.'), key.size());
      const auto found = targets_.find(key.substr(0, dot));
      if (found == targets_.end()) {
        bounds[key] = bound;
        continue;
      }
      for (const std::string& suffix : found->second) {
        const std::string name = found->first + suffix + key.substr(dot);
        if (expect->contains(name)) continue;  // what is said of one goes above what is said of all
        bounds[name] = bound;
        document_.places["expect." + name] = document_.place("expect." + key);
      }
    }
    *expect = std::move(bounds);
  }

  Document& document_;
  std::vector<Entry> done_;
  std::map<std::string, std::vector<std::string>>
      targets_;  ///< a stage that stands for several -> their suffixes
  std::string last_model_ = "scratch", last_sensitivity_;
  bool changed_ = false;
};

}  // namespace

void expand_stages(Document& document) {
  if (document.root.contains("stages") && document.root.at("stages").is_array()) Expansion(document).run();
}

}  // namespace espalier
