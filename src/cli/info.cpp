#include <filesystem>
#include <sstream>

#include <spdlog/fmt/fmt.h>

#include "cli/command.h"
#include "graph/channel_groups.h"
#include "graph/cost.h"
#include "io/model_file.h"

namespace espalier {

namespace {

Json groups_json(const Graph& graph) {
  Json groups = Json::array();
  for (const ChannelGroup& group : channel_groups(graph)) {
    Json members = Json::array();
    for (size_t m = 0; m < group.members.size(); ++m)
      members.push_back(
          {{"parameter", graph.values[group.members[m].value].name}, {"why", group.tied_by[m]}});
    groups.push_back({{"name", group.name}, {"channels", group.channels}, {"members", members}});
  }
  return groups;
}

Json layers_json(const Graph& graph) {
  Json layers = Json::array();
  for (const Graph::Item& item : graph.items) {
    int64_t parameters = 0;
    for (const int value : item.in)
      if (graph.is_parameter(value)) parameters += graph.values[value].meta.shape.elements();
    const Meta& out = graph.values[item.out.at(0)].meta;
    layers.push_back({{"name", item.name},
                      {"op", item.op->name()},
                      {"output", out.shape.vector()},
                      {"dtype", name(out.dtype)},
                      {"parameters", parameters},
                      {"macs", item_macs(graph, item)}});
  }
  return layers;
}

Json describe_model(const std::string& file) {
  const Model model = load_model(file);
  const Cost weight = cost(model.graph);
  const Shape input = model.graph.values[model.graph.inputs.at(0)].meta.shape;
  return {{"file", file},
          {"task", model.task},
          {"model", model.architecture},
          {"input", input.vector()},
          {"classes", model.labels.size()},
          {"parameters", weight.parameters},
          {"macs", weight.macs},
          {"parameter_bytes", weight.bytes},
          {"bytes", std::filesystem::file_size(file)},
          {"labels", model.labels},
          {"task_options", model.task_options},
          {"preprocessing", model.preprocessing},
          {"metrics", model.metrics},
          {"lineage", model.lineage},
          {"layers", layers_json(model.graph)},
          {"groups", groups_json(model.graph)}};
}

std::string text_of(const Json& info, bool layers, bool groups) {
  std::string text = fmt::format(
      "{}: {} {}, input {}, {} classes\nparameters {}, MACs {:.1f} M, parameters {:.2f} MB, file {:.2f} MB\n",
      info.at("file").get<std::string>(), info.at("task").get<std::string>(), info.at("model").dump(),
      info.at("input").dump(), info.at("classes").get<int>(), info.at("parameters").get<int64_t>(),
      info.at("macs").get<double>() / 1e6, info.at("parameter_bytes").get<double>() / 1e6,
      info.at("bytes").get<double>() / 1e6);
  text += "preprocessing " + info.at("preprocessing").dump() + "\n";
  for (const auto& [stage, measured] : info.at("metrics").items())
    text += "measured by " + stage + ": " + measured.dump() + "\n";
  for (const Json& step : info.at("lineage")) text += "lineage " + step.dump() + "\n";
  if (layers) {
    text += fmt::format("\n{:<28} {:<18} {:>16} {:>5} {:>12} {:>10}\n", "layer", "op", "output", "type",
                        "parameters", "MACs (M)");
    for (const Json& l : info.at("layers"))
      text +=
          fmt::format("{:<28} {:<18} {:>16} {:>5} {:>12} {:>10.2f}\n", l.at("name").get<std::string>(),
                      l.at("op").get<std::string>(), l.at("output").dump(), l.at("dtype").get<std::string>(),
                      l.at("parameters").get<int64_t>(), l.at("macs").get<double>() / 1e6);
  }
  if (groups) {
    text += fmt::format("\n{:<28} {:>8}  {}\n", "group", "channels", "removed together");
    for (const Json& g : info.at("groups")) {
      std::string members;
      for (const Json& m : g.at("members"))
        members += (members.empty() ? "" : " ") + m.at("parameter").get<std::string>();
      text += fmt::format("{:<28} {:>8}  {}\n", g.at("name").get<std::string>(), g.at("channels").get<int>(),
                          members);
    }
  }
  return text;
}

}  // namespace

Command add_info(CLI::App& program) {
  struct Options {
    std::string model;
    bool layers = false, groups = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("info", "what a model file holds: cost, layers, channel groups, lineage");
  app->add_option("MODEL", options->model, "a model file")->required();
  app->add_flag("--layers", options->layers, "every layer with output, parameters and MACs");
  app->add_flag("--groups", options->groups, "which channels can be removed, and what goes with them");
  return {app, [options](const Output& output) -> int {
            const Json info = describe_model(options->model);
            output.text(text_of(info, options->layers, options->groups));
            output.object(info);
            return kOk;
          }};
}

}  // namespace espalier
