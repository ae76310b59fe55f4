#include "compress/measurements.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "io/file.h"
#include "tasks/evaluate.h"

namespace espalier {

namespace {

constexpr const char* kFormat = "espalier-measurements";

std::string as_text(uint64_t hash) { return fmt::format("{:016x}", hash); }

}  // namespace

Measurements::Measurements(const Task& task, BatchSource& source, std::filesystem::path file, Device device)
    : task_(task),
      source_(source),
      file_(std::move(file)),
      device_(device),
      metric_name_(task.metric_name()) {
  if (!file_.empty() && std::filesystem::exists(file_)) load();
}

void Measurements::load() {
  const std::string place = file_.string();
  const Json json = parse_json(read_file(file_));
  ESPALIER_CHECK(
      json.is_object() && json.value("format", Json()) == kFormat && json.value("version", Json()) == 1,
      place, ": holds no measurements that this program can read; remove it to measure anew");
  try {
    ESPALIER_CHECK(json.at("data") == as_text(source_.hash()) && json.at("metric") == metric_name_, place,
                   ": was measured on other data or by another metric; remove it to measure anew");
    for (const auto& [hash, entry] : json.at("measured").items())
      entries_[hash] = {entry.at("what"), {entry.at("metric"), entry.at("loss"), entry.at("samples")}};
  } catch (const Json::exception& e) {
    fail(str(place, ": is damaged (", e.what(), "); remove it to measure anew"));
  }
  if (!entries_.empty()) spdlog::info("{}: {} evaluations are there already", place, entries_.size());
}

void Measurements::save() const {
  Json measured = Json::object();
  for (const auto& [hash, entry] : entries_)
    measured[hash] = {{"what", entry.what},
                      {"metric", entry.point.metric},
                      {"loss", entry.point.loss},
                      {"samples", entry.point.samples}};
  const Json json = {{"format", kFormat},
                     {"version", 1},
                     {"data", as_text(source_.hash())},
                     {"metric", metric_name_},
                     {"measured", measured}};
  write_atomically(file_, json.dump(2) + "\n");
}

Measurements::Point Measurements::of(const Graph& graph, const std::string& what) {
  const std::string hash = as_text(graph.hash());
  if (const auto known = entries_.find(hash); known != entries_.end()) return known->second.point;
  Session session(graph.to(device_));
  const MetricResult result = evaluate(session, task_, source_);
  ++evaluations_;
  const Point point{result.value, result.loss, result.samples};
  entries_[hash] = {what, point};
  if (!file_.empty()) save();
  spdlog::info("{}: {} {:.2f} %, loss {:.4f}", what, metric_name_, 100 * point.metric, point.loss);
  return point;
}

}  // namespace espalier
