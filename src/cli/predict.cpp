#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <iostream>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/command.h"
#include "cli/step.h"
#include "datasets/transforms.h"
#include "io/image.h"
#include "recipe/stages.h"
#include "runtime/session.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

/// Files as they are, folders as the pictures in them, sorted.
std::vector<std::string> pictures_of(const std::vector<std::string>& paths) {
  std::vector<std::string> pictures;
  for (const std::string& path : paths) {
    ESPALIER_CHECK(fs::exists(path), path, ": there is no such file or folder");
    if (!fs::is_directory(path)) {
      pictures.push_back(path);
      continue;
    }
    const size_t before = pictures.size();
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file() && has_image_extension(entry.path()))
        pictures.push_back(entry.path().string());
    ESPALIER_CHECK(pictures.size() > before, path, ": holds no .jpg, .png or .bmp");
    std::sort(pictures.begin() + static_cast<int64_t>(before), pictures.end());
  }
  return pictures;
}

std::string line_of(const Json& prediction) {
  std::string text = prediction.at("image").get<std::string>() + ":";
  for (const Json& best : prediction.at("best"))
    text += fmt::format("  {} {:.1f} %", best.at("category").get<std::string>(),
                        100 * best.at("score").get<double>());
  return text;
}

}  // namespace

Command add_predict(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string model;
    std::vector<std::string> paths;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("predict", "the five likeliest classes of pictures");
  app->add_option("MODEL", options->model, "a model file, FP32 or INT8; it knows how to prepare pictures")
      ->required();
  app->add_option("PATH", options->paths, "pictures, or folders of them")->required();
  add_machine_options(app, options->step);
  return {app, [options](const Output& output) -> int {
            const Recipe recipe = step_recipe(options->step, options->model, false);
            const Workbench bench(recipe);
            const Model model = load_model(options->model);
            const Pipeline pipeline(model.preprocessing, options->model + ": preprocessing");
            const auto task = make_task(model.task, static_cast<int>(model.labels.size()), Json::object());
            Session session(model.graph.to(bench.device()));
            Json predictions = Json::array(), errors = Json::array();
            for (const std::string& picture : pictures_of(options->paths)) {
              if (interrupt_requested()) throw Interrupted("interrupted before " + picture);
              try {
                const Tensors& outputs = session.run({pipeline(read_image(picture))});
                predictions.push_back({{"image", picture}, {"best", task->decode(outputs, 0, model.labels)}});
                output.text(line_of(predictions.back()));
              } catch (const Error& e) {
                errors.push_back(e.what());
              }
            }
            output.object({{"model", options->model}, {"predictions", predictions}, {"errors", errors}});
            for (const Json& error : errors) output.error(error);
            return errors.empty() ? kOk : kBadInput;
          }};
}

}  // namespace espalier
