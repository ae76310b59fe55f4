#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "cli/command.h"
#include "graph/channel_groups.h"
#include "graph/cost.h"
#include "kernels/device.h"
#include "ops/attributes.h"
#include "ops/quantized_convolution.h"
#include "recipe/benchmark.h"
#include "recipe/open_model.h"
#include "recipe/stages.h"

namespace espalier {

namespace {

/// The items that make one of the group's channels and whose result flows into `value` without being mixed
/// on the way.
std::set<int> makers_before(const Graph& graph, int value, const std::set<int>& makers) {
  std::set<int> found, seen;
  std::vector<int> open = {value};
  while (!open.empty()) {
    const int item = graph.producer(open.back());
    open.pop_back();
    if (item < 0 || !seen.insert(item).second) continue;
    if (makers.contains(item)) {
      found.insert(item);
      continue;
    }
    const std::vector<int>& in = graph.items[item].in;
    const bool mixes = std::any_of(in.begin(), in.end(), [&](int v) {
      const int axes = graph.values[v].meta.shape.axes();
      return graph.is_parameter(v) && (axes == 4 || axes == 2);
    });
    if (!mixes) open.insert(open.end(), in.begin(), in.end());
  }
  return found;
}

/// Where two makers of the group's channels meet, so that neither can lose a channel alone: additions.
Json joints_of(const Graph& graph, const ChannelGroup& group) {
  std::set<int> makers;
  for (const ChannelGroup::Member& member : group.members)
    if (member.produces)
      for (const int item : graph.consumers(member.value)) makers.insert(item);
  Json joints = Json::array();
  for (const Graph::Item& item : graph.items) {
    std::set<int> met;
    int inputs = 0;
    for (const int v : item.in) {
      if (graph.is_parameter(v)) continue;
      const std::set<int> before = makers_before(graph, v, makers);
      inputs += !before.empty();
      met.insert(before.begin(), before.end());
    }
    if (inputs > 1 && met.size() > 1) joints.push_back(item.name);
  }
  return joints;
}

Json groups_json(const Graph& graph) {
  Json groups = Json::array();
  for (const ChannelGroup& group : channel_groups(graph)) {
    Json members = Json::array();
    for (size_t m = 0; m < group.members.size(); ++m)
      members.push_back({{"parameter", graph.values[group.members[m].value].name},
                         {"axis", group.members[m].axis},
                         {"why", group.tied_by[m]}});
    groups.push_back({{"name", group.name},
                      {"channels", group.channels},
                      {"members", members},
                      {"tied_at", joints_of(graph, group)}});
  }
  return groups;
}

/// The scales of an INT8 item: of its codes, and the smallest and the largest of its filters. Empty for FP32.
Json scales_of(const Graph& graph, const Graph::Item& item) {
  Json scales = Json::object();
  const auto* convolution = item.as<QuantizedConvolution>();
  if (convolution) {
    const bool codes = convolution->out != "f32";
    scales["input"] = convolution->in_scale;
    if (codes) scales["output"] = convolution->out_scale;
    // The multiplier holds input scale * filter scale / output scale; an f32 output is not divided.
    const Tensor& multipliers = graph.values[item.in.at(3)].param;
    const auto [low, high] =
        std::minmax_element(multipliers.f32(), multipliers.f32() + multipliers.elements());
    const float factor = (codes ? convolution->out_scale : 1) / convolution->in_scale;
    scales["filters"] = {*low * factor, *high * factor};
    return scales;
  }
  const Json attributes = attributes_to_json(*item.op);
  if (attributes.contains("scale") && attributes.at("scale").is_number())
    scales[item.op->name() == std::string("dequantize") ? "input" : "output"] = attributes.at("scale");
  return scales;
}

Json layers_json(const Graph& graph, const std::vector<LayerTiming>& timings) {
  Json layers = Json::array();
  for (const Graph::Item& item : graph.items) {
    int64_t parameters = 0, bytes = 0;
    for (const int value : item.in) {
      if (!graph.is_parameter(value)) continue;
      parameters += graph.values[value].meta.shape.elements();
      bytes += graph.values[value].param.bytes();
    }
    Json inputs = Json::array();
    for (const int value : item.in)
      if (!graph.is_parameter(value)) inputs.push_back(graph.values[value].meta.shape.vector());
    const Meta& out = graph.values[item.out.at(0)].meta;
    Json layer = {{"name", item.name},        {"op", item.op->name()},
                  {"inputs", inputs},         {"output", out.shape.vector()},
                  {"dtype", name(out.dtype)}, {"parameters", parameters},
                  {"bytes", bytes},           {"macs", item_macs(graph, item)}};
    if (Json scales = scales_of(graph, item); !scales.empty()) layer["scales"] = std::move(scales);
    const auto timing = std::find_if(timings.begin(), timings.end(),
                                     [&](const LayerTiming& t) { return t.name == item.name; });
    if (!timings.empty()) layer["ms"] = timing == timings.end() ? Json(nullptr) : Json(timing->ms);
    layers.push_back(std::move(layer));
  }
  return layers;
}

Json describe_model(const std::string& file, double seconds) {
  const Model model = open_model(file);
  const Cost weight = cost(model.graph);
  const Shape input = model.graph.values[model.graph.inputs.at(0)].meta.shape;
  std::vector<LayerTiming> timings;
  if (seconds > 0) timings = benchmark_layers(model.graph, 1, seconds);
  return {{"file", file},
          {"task", model.task},
          {"model", model.architecture},
          {"input", input.vector()},
          {"classes", model.labels.size()},
          {"parameters", weight.parameters},
          {"macs", weight.macs},
          {"parameter_bytes", weight.bytes},
          {"bytes", std::filesystem::file_size(file)},
          {"threads", kernels::threads()},
          {"labels", model.labels},
          {"task_options", model.task_options},
          {"preprocessing", model.preprocessing},
          {"metrics", model.metrics},
          {"lineage", model.lineage},
          {"layers", layers_json(model.graph, timings)},
          {"groups", groups_json(model.graph)}};
}

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

/// Nothing but this command reads these, so what it does not know is for --json alone.
bool is_measured(const Json& metric) {
  const auto number = [&](const char* key) { return metric.value(key, Json()).is_number(); };
  return metric.is_object() && metric.contains("name") && number("value") && number("low") &&
         number("high") && number("samples");
}

std::string head_text(const Json& info) {
  std::string text = fmt::format(
      "{}: {} {}, input {}, {} classes\nparameters {}, MACs {:.1f} M, parameters {:.2f} MB, file {:.2f} MB\n",
      text_of(info.at("file")), text_of(info.at("task")), info.at("model").dump(), info.at("input").dump(),
      info.at("classes").get<int>(), info.at("parameters").get<int64_t>(),
      info.at("macs").get<double>() / 1e6, info.at("parameter_bytes").get<double>() / 1e6,
      info.at("bytes").get<double>() / 1e6);
  text += "preprocessing " + info.at("preprocessing").dump() + "\n";
  for (const auto& [stage, measured] : info.at("metrics").items())
    for (const auto& [when, metric] : measured.items())
      if (is_measured(metric))
        text += "measured by " + stage + ", " + when +
                " epoch: " + metric_text(text_of(metric.at("name")), metric) + "\n";
  return text;
}

/// One line a step: what is a single value of it; plans and options are in the JSON.
std::string lineage_text(const Json& info) {
  std::string text = "\nlineage, the oldest first (--json has options and plans)\n";
  int number = 0;
  for (const Json& step : info.at("lineage")) {
    std::string line = fmt::format("{:>3}. {}", ++number, text_of(step.value("stage", Json("?"))));
    if (step.contains("name")) line += " " + text_of(step.at("name"));
    for (const auto& [key, value] : step.items())
      if (key != "stage" && key != "name" && value.is_primitive()) line += ", " + key + " " + text_of(value);
    text += line + "\n";
  }
  return text;
}

/// The name column is as wide as the longest name.
size_t width_of(const Json& rows) {
  size_t width = 5;
  for (const Json& row : rows) width = std::max(width, row.at("name").get<std::string>().size());
  return width;
}

std::string layers_text(const Json& info) {
  const Json& layers = info.at("layers");
  const size_t width = width_of(layers);
  std::string text =
      fmt::format("\n{:<{}} {:<26} {:>17} {:>17} {:>5} {:>10} {:>9} {:>9} {:>8}\n", "layer", width, "op",
                  "input", "output", "type", "parameters", "kB", "MACs (M)", "ms");
  double total = 0;
  for (const Json& l : layers) {
    std::string ms;
    if (l.contains("ms")) {
      ms = l.at("ms").is_null() ? "folded"
           : l.at("ms") == 0.0  ? "in next"
                                : fmt::format("{:.4f}", l.at("ms").get<double>());
      total += l.at("ms").is_null() ? 0 : l.at("ms").get<double>();
    }
    text += fmt::format("{:<{}} {:<26} {:>17} {:>17} {:>5} {:>10} {:>9.1f} {:>9.2f} {:>8}\n",
                        text_of(l.at("name")), width, text_of(l.at("op")),
                        l.at("inputs").empty() ? "" : l.at("inputs")[0].dump(), l.at("output").dump(),
                        text_of(l.at("dtype")), l.at("parameters").get<int64_t>(),
                        l.at("bytes").get<double>() / 1e3, l.at("macs").get<double>() / 1e6, ms);
  }
  if (total > 0)
    text += fmt::format(
        "sum {:.4f} ms at batch 1 with {} threads, medians; folded: into the weights of the layer before "
        "it; in next: one kernel runs it with a later layer\n",
        total, info.at("threads").get<int>());
  return text;
}

std::string groups_text(const Json& info) {
  std::string text = "\ngroups of tied channels: what loses a channel together\n";
  for (const Json& group : info.at("groups")) {
    text += fmt::format("{}: {} channels\n", text_of(group.at("name")), group.at("channels").get<int>());
    for (const Json& m : group.at("members"))
      text += fmt::format("    {:<40} axis {}  {}\n", text_of(m.at("parameter")), m.at("axis").get<int>(),
                          text_of(m.at("why")));
    for (const Json& joint : group.at("tied_at")) text += "    tied at " + text_of(joint) + "\n";
  }
  return text;
}

std::string scales_text(const Json& info) {
  const size_t width = width_of(info.at("layers"));
  std::string rows;
  for (const Json& l : info.at("layers")) {
    if (!l.contains("scales")) continue;
    const Json& s = l.at("scales");
    const auto cell = [&](const char* key) {
      return s.contains(key) ? fmt::format("{:.6g}", s.at(key).get<double>()) : "";
    };
    rows +=
        fmt::format("{:<{}} {:>12} {:>12}  {}\n", text_of(l.at("name")), width, cell("input"), cell("output"),
                    s.contains("filters") ? fmt::format("{:.4g} .. {:.4g}", s.at("filters")[0].get<double>(),
                                                        s.at("filters")[1].get<double>())
                                          : "");
  }
  if (rows.empty()) return "\nscales: none, the model is FP32\n";
  return fmt::format("\n{:<{}} {:>12} {:>12}  {}\n", "scales", width, "input", "output", "filters") + rows;
}

}  // namespace

Command add_info(CLI::App& program) {
  struct Options {
    std::string model;
    bool layers = false, groups = false, scales = false, lineage = false;
    double seconds = 0.5;
    int threads = 0;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand(
      "info", "what a model file holds: cost, lineage, layers and their time, channel groups, scales");
  app->add_option("MODEL", options->model, "a model file")->required();
  app->add_flag("--layers", options->layers,
                "only these parts: every layer with shapes, parameters, MACs, bytes, time");
  app->add_flag("--groups", options->groups, "only these parts: which channels go together, and why");
  app->add_flag("--scales", options->scales, "only these parts: the scales of an INT8 model");
  app->add_flag("--lineage", options->lineage, "only these parts: what the model was made by");
  app->add_option("--seconds", options->seconds, "of timing the layers at batch 1; 0: no timing")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 600.0));
  app->add_option("--threads", options->threads, "0, the default: all cores")->check(CLI::Range(0, 1024));
  return {app, [options](const Output& output) -> int {
            const Options& o = *options;
            kernels::set_threads(o.threads);
            const bool all = !o.layers && !o.groups && !o.scales && !o.lineage;
            const Json info = describe_model(o.model, all || o.layers ? o.seconds : 0);
            output.text(head_text(info));
            if (all || o.lineage) output.text(lineage_text(info));
            if (all || o.layers) output.text(layers_text(info));
            if (all || o.groups) output.text(groups_text(info));
            if (all || o.scales) output.text(scales_text(info));
            output.object(info);
            return kOk;
          }};
}

}  // namespace espalier
