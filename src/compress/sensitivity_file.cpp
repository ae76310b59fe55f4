// Sensitivity files: JSON that a person can read, and the same as tables.

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/shipped.h"
#include "compress/sensitivity.h"
#include "io/file.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFormat = "espalier sensitivity";
constexpr int kVersion = 2;

std::string hex(uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

uint64_t from_hex(const std::string& text, const std::string& place) {
  uint64_t hash = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hash, 16);
  ESPALIER_CHECK(error == std::errc() && end == text.data() + text.size() && text.size() == 16, place, ": '",
                 text, "' is no hash of 16 hexadecimal digits");
  return hash;
}

void check_keys(const Json& json, std::set<std::string> keys, const std::string& place,
                const std::set<std::string>& optional = {}) {
  ESPALIER_CHECK(json.is_object(), place, ": an object was expected");
  for (const std::string& key : keys) ESPALIER_CHECK(json.contains(key), place, ": '", key, "' is missing");
  keys.insert(optional.begin(), optional.end());
  for (const auto& [key, value] : json.items())
    ESPALIER_CHECK(keys.count(key), place, ": the key '", key, "' is unknown",
                   did_you_mean(key, {keys.begin(), keys.end()}));
}

GroupSensitivity read_group(const Json& json, const std::string& place) {
  check_keys(json, {"name", "channels", "members", "points"}, place, {"order"});
  GroupSensitivity group{.name = json.at("name"), .channels = json.at("channels")};
  const std::string here = place + " '" + group.name + "'";
  ESPALIER_CHECK(group.channels > 0, here, ": has ", group.channels, " channels");
  if (json.contains("order")) {
    group.order = json.at("order").get<std::vector<int>>();
    std::vector<int> sorted = group.order, all(group.order.size());
    std::sort(sorted.begin(), sorted.end());
    std::iota(all.begin(), all.end(), 0);
    ESPALIER_CHECK(std::ssize(all) == group.channels && sorted == all, here,
                   ": its order does not name each of ", group.channels, " channels once");
  }
  for (const Json& member : json.at("members")) {
    check_keys(member, {"parameter", "axis", "role"}, here);
    group.members.push_back({member.at("parameter"), member.at("axis"), member.at("role")});
  }
  double before = 0;
  for (const Json& point : json.at("points")) {
    check_keys(point, {"ratio", "removed", "metric", "loss", "evaluation_loss"}, here,
               {"low", "high", "samples"});
    const SensitivityPoint p{point.at("ratio"),           point.at("removed"),
                             point.at("metric"),          point.at("loss"),
                             point.at("evaluation_loss"), point.value("low", 0.0),
                             point.value("high", 1.0),    point.value("samples", int64_t{0})};
    ESPALIER_CHECK(p.ratio > before && p.ratio < 1, here, ": ratio ", p.ratio,
                   " is out of place; ratios rise between 0 and 1");
    ESPALIER_CHECK(p.removed >= 0 && p.removed < group.channels, here, ": ", p.removed, " of ",
                   group.channels, " channels cannot be removed");
    ESPALIER_CHECK(std::isfinite(p.metric) && std::isfinite(p.loss) && std::isfinite(p.evaluation_loss), here,
                   ": a value at ratio ", p.ratio, " is not finite");
    before = p.ratio;
    group.points.push_back(p);
  }
  return group;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text.append(text.empty() ? "" : ",\n").append(line);
  return text;
}

/// One line for each member and point, so that the file can be read and compared.
std::string text_of(const Json& json) {
  const auto list = [](const Json& entries) {
    std::vector<std::string> lines;
    for (const Json& entry : entries) lines.push_back(str("    ", entry.dump()));
    return lines.empty() ? std::string("[]") : str("[\n", joined(lines), "\n   ]");
  };
  std::vector<std::string> head, groups;
  for (const auto& [key, value] : json.items())
    if (key != "groups") head.push_back(str(" \"", key, "\": ", value.dump()));
  for (const Json& group : json.at("groups"))
    groups.push_back(str("  {\n   \"name\": ", group.at("name").dump(),
                         ", \"channels\": ", group.at("channels").dump(),
                         group.contains("order") ? str(",\n   \"order\": ", group.at("order").dump()) : "",
                         ",\n   \"members\": ", list(group.at("members")),
                         ",\n   \"points\": ", list(group.at("points")), "\n  }"));
  return str("{\n", joined(head), ",\n \"groups\": [\n", joined(groups), "\n ]\n}\n");
}

}  // namespace

Json to_json(const Sensitivity& s) {
  Json groups = Json::array();
  for (const GroupSensitivity& g : s.groups) {
    Json members = Json::array(), points = Json::array();
    for (const auto& m : g.members)
      members.push_back({{"parameter", m.parameter}, {"axis", m.axis}, {"role", m.role}});
    for (const SensitivityPoint& p : g.points) {
      points.push_back({{"ratio", p.ratio},
                        {"removed", p.removed},
                        {"metric", p.metric},
                        {"loss", p.loss},
                        {"evaluation_loss", p.evaluation_loss},
                        {"low", p.low},
                        {"high", p.high}});
      if (p.samples > 0) points.back()["samples"] = p.samples;
    }
    groups.push_back({{"name", g.name}, {"channels", g.channels}, {"members", members}, {"points", points}});
    if (!g.order.empty()) groups.back()["order"] = g.order;
  }
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"note", s.note},
               {"metric", s.metric_name},
               {"baseline", s.baseline},
               {"baseline_loss", s.baseline_loss},
               {"samples", s.samples},
               {"stop_loss", s.stop_loss},
               {"criterion", s.criterion},
               {"ratios", s.ratios},
               {"data", hex(s.data)},
               {"model", hex(s.model)},
               {"baseline_low", s.baseline_low},
               {"baseline_high", s.baseline_high}};
  if (s.refined.samples > 0)
    json["refined"] = {{"baseline", s.refined.baseline},
                       {"baseline_loss", s.refined.baseline_loss},
                       {"samples", s.refined.samples},
                       {"data", hex(s.refined.data)}};
  json["groups"] = std::move(groups);
  return json;
}

Sensitivity sensitivity_from_json(const Json& json, const std::string& place) {
  try {
    ESPALIER_CHECK(json.is_object() && json.value("format", Json()) == kFormat, place,
                   ": is no sensitivity file; `espalier sensitivity` makes one");
    const Json version = json.value("version", Json(0));
    ESPALIER_CHECK(version == kVersion, place, ": has version ", version, ", this program reads ", kVersion,
                   "; measure anew");
    check_keys(json,
               {"format", "version", "note", "metric", "baseline", "baseline_loss", "samples", "stop_loss",
                "criterion", "ratios", "data", "model", "groups"},
               place, {"baseline_low", "baseline_high", "refined"});
    Sensitivity s;
    s.note = json.at("note");
    s.metric_name = json.at("metric");
    s.baseline = json.at("baseline");
    s.baseline_loss = json.at("baseline_loss");
    s.samples = json.at("samples");
    s.baseline_low = json.value("baseline_low", 0.0);
    s.baseline_high = json.value("baseline_high", 1.0);
    if (json.contains("refined")) {
      const Json& refined = json.at("refined");
      check_keys(refined, {"baseline", "baseline_loss", "samples", "data"}, place + ": refined");
      s.refined = {refined.at("baseline"), refined.at("baseline_loss"), refined.at("samples"),
                   from_hex(refined.at("data"), place)};
    }
    s.stop_loss = json.at("stop_loss");
    s.criterion = json.at("criterion");
    s.ratios = json.at("ratios").get<std::vector<double>>();
    s.data = from_hex(json.at("data"), place);
    s.model = from_hex(json.at("model"), place);
    ESPALIER_CHECK(std::isfinite(s.baseline) && s.baseline > 0 && std::isfinite(s.baseline_loss), place,
                   ": its baseline is ", s.baseline, " with loss ", s.baseline_loss, "; measure anew");
    for (const Json& group : json.at("groups")) {
      s.groups.push_back(read_group(group, place + ": group"));
      ESPALIER_CHECK(s.find(s.groups.back().name) == &s.groups.back(), place, ": group '",
                     s.groups.back().name, "' is there twice");
    }
    return s;
  } catch (const Json::exception& e) {
    fail(str(place, ": is damaged (", e.what(), "); measure anew"));
  }
}

Sensitivity load_sensitivity(const fs::path& file) {
  const std::string text = read_file(file);
  const Json json = parse_json(text);
  ESPALIER_CHECK(!json.is_discarded(), file.string(),
                 ": is no sensitivity file (no JSON, or cut short); measure anew");
  return sensitivity_from_json(json, file.string());
}

void save_sensitivity(const fs::path& file, const Sensitivity& sensitivity) {
  write_atomically(file, text_of(to_json(sensitivity)));
}

void check_same_model(const Sensitivity& sensitivity, const Graph& graph, const std::string& place) {
  ESPALIER_CHECK(sensitivity.model == graph.hash(), place,
                 ": was measured on another model or on other weights of it; measure this one, or say "
                 "DEFAULT for the shipped curves");
  check_same_groups(sensitivity, graph, place);
}

void check_same_groups(const Sensitivity& sensitivity, const Graph& graph, const std::string& place) {
  const std::vector<ChannelGroup> groups = channel_groups(graph);
  for (const GroupSensitivity& measured : sensitivity.groups) {
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const ChannelGroup& g) { return g.name == measured.name; });
    ESPALIER_CHECK(group != groups.end(), place, ": measured group '", measured.name,
                   "', which this model does not have; the file is of another model");
    ESPALIER_CHECK(group->channels == measured.channels, place, ": group '", measured.name, "' had ",
                   measured.channels, " channels when it was measured, here it has ", group->channels,
                   "; the file is of another model");
  }
}

fs::path default_sensitivities(const std::string& model_name) {
  const fs::path shipped = shipped_recipes() / "sensitivities";
  fs::path file = shipped / (model_name + ".json");
  if (fs::exists(file)) return file;
  std::string known;
  std::error_code code;
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(shipped, code)) files.insert(entry.path());
  for (const fs::path& path : files)
    if (path.extension() == ".json") known += (known.empty() ? "" : ", ") + path.stem().string();
  fail(str("DEFAULT: there is no ", file.string(), "; ",
           known.empty() ? "set ESPALIER_RECIPES to the folder of the program's recipes"
                         : "files are shipped for " + known,
           ", or measure this model with `espalier sensitivity`"));
}

std::string sensitivity_table(const Sensitivity& s) {
  size_t width = 5;
  for (const GroupSensitivity& g : s.groups) width = std::max(width, g.name.size());
  const auto padded = [width](std::string text) { return text.append(width - text.size(), ' '); };
  std::string text = fmt::format(
      "loss of {} in % of its {:.2f} % ({:.1f}-{:.1f} on {} images), by the share of channels removed\n",
      s.metric_name, 100 * s.baseline, 100 * s.baseline_low, 100 * s.baseline_high, s.samples);
  text += padded("group") + " channels";
  for (const double ratio : s.ratios) text += fmt::format("{:7.2f}", ratio);
  text += '\n';
  for (const GroupSensitivity& g : s.groups) {
    text += padded(g.name) + fmt::format("{:9d}", g.channels);
    for (const double ratio : s.ratios) {
      const auto point = std::find_if(g.points.begin(), g.points.end(),
                                      [&](const auto& p) { return std::abs(p.ratio - ratio) < 1e-9; });
      text += point == g.points.end() ? "      -" : fmt::format("{:7.1f}", 100 * point->loss);
    }
    text += '\n';
  }
  return text;
}

std::string sensitivity_csv(const Sensitivity& s) {
  std::string text = "group,channels,ratio,removed,metric,low,high,images,loss,evaluation_loss\n";
  for (const GroupSensitivity& g : s.groups)
    for (const SensitivityPoint& p : g.points)
      text += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", g.name, g.channels, p.ratio, p.removed, p.metric,
                          p.low, p.high, p.samples > 0 ? p.samples : s.samples, p.loss, p.evaluation_loss);
  return text;
}

}  // namespace espalier
