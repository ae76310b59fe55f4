#include <sys/resource.h>

#include <spdlog/fmt/fmt.h>

#include "cli/command.h"
#include "cli/step.h"
#include "recipe/benchmark.h"
#include "recipe/open_model.h"
#include "recipe/stages.h"

namespace espalier {

namespace {

struct Options {
  StepOptions step;
  std::vector<std::string> models;
  BenchmarkOptions benchmark;
  bool layers = false;
  int layer_batch = 1;
};

double peak_memory_mb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

Json layers_json(const std::vector<LayerTiming>& layers) {
  Json json = Json::array();
  for (const LayerTiming& layer : layers)
    json.push_back({{"name", layer.name}, {"op", layer.op}, {"ms", layer.ms}});
  return json;
}

std::string layers_text(const Json& layers) {
  double total = 0;
  for (const Json& layer : layers) total += layer.at("ms").get<double>();
  std::string text = fmt::format("{:<36} {:<26} {:>9} {:>6}\n", "layer", "op", "ms", "%");
  for (const Json& layer : layers)
    text += fmt::format("{:<36} {:<26} {:>9.4f} {:>6.1f}\n", layer.at("name").get<std::string>(),
                        layer.at("op").get<std::string>(), layer.at("ms").get<double>(),
                        100 * layer.at("ms").get<double>() / total);
  return text + fmt::format("{:<36} {:<26} {:>9.4f}\n", "sum", "", total);
}

}  // namespace

Command add_bench(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("bench", "time models side by side: latency, images a second, memory, layers");
  app->add_option("MODEL", options->models, "model files; they take turns")->required();
  add_machine_options(app, options->step);
  app->add_option("--batch", options->benchmark.batch, "for images a second")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  app->add_option("--seconds", options->benchmark.seconds, "of timing, per model and batch size")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 600.0));
  app->add_option("--rounds", options->benchmark.rounds, "turns that the models take")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app->add_flag("--layers", options->layers, "every layer's time too");
  app->add_option("--layer-batch", options->layer_batch, "at which batch the layers are timed")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  return {app, [options](const Output& output) -> int {
            const Recipe recipe = step_recipe(options->step, options->models.at(0), false);
            Workbench bench(recipe);
            std::vector<Graph> graphs;
            for (const std::string& file : options->models)
              graphs.push_back(open_model(file).graph.to(bench.device()));
            std::vector<const Graph*> pointers;
            for (const Graph& graph : graphs) pointers.push_back(&graph);
            const std::vector<Timing> timings = benchmark(pointers, options->benchmark);
            Json json = {{"device", bench.device_name()},
                         {"processor", bench.processor()},
                         {"threads", bench.threads()},
                         {"batch", options->benchmark.batch},
                         {"models", Json::array()}};
            std::string text = fmt::format("{:<40} {:>8} {:>8} {:>8} {:>10} {:>10}\n", "model", "ms", "p95",
                                           "least", "images/s", "memory MB");
            for (size_t i = 0; i < graphs.size(); ++i) {
              const Timing& t = timings[i];
              const double memory = static_cast<double>(t.arena_bytes + t.packed_bytes) / 1e6;
              json["models"].push_back(
                  {{"model", options->models[i]},
                   {"latency_ms",
                    {{"median", t.median_ms}, {"p95", t.p95_ms}, {"least", t.least_ms}, {"runs", t.runs}}},
                   {"images_per_second", t.images_per_second},
                   {"arena_bytes", t.arena_bytes},
                   {"packed_bytes", t.packed_bytes}});
              text +=
                  fmt::format("{:<40} {:>8.3f} {:>8.3f} {:>8.3f} {:>10.1f} {:>10.2f}\n", options->models[i],
                              t.median_ms, t.p95_ms, t.least_ms, t.images_per_second, memory);
              if (!options->layers) continue;
              json["models"].back()["layers"] =
                  layers_json(benchmark_layers(graphs[i], options->layer_batch, options->benchmark.seconds));
            }
            json["peak_memory_mb"] = peak_memory_mb();
            text += fmt::format(
                "{}, {} threads; ms at batch 1, images/s at batch {}; memory at batch 1: arena and packed "
                "weights; the process took at most {:.0f} MB\n",
                bench.processor(), bench.threads(), options->benchmark.batch, peak_memory_mb());
            for (const Json& model : json.at("models"))
              if (model.contains("layers"))
                text += "\n" + model.at("model").get<std::string>() + "\n" + layers_text(model.at("layers"));
            output.text(text);
            output.object(json);
            return kOk;
          }};
}

}  // namespace espalier
