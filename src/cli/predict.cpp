#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>
#include <set>

#include "api/predictor.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/step.h"
#include "datasets/coco_file.h"
#include "io/file.h"
#include "io/image.h"
#include "io/index_png.h"
#include "recipe/stages.h"
#include "tasks/drawing.h"
#include "tasks/task.h"
#include "tasks/tiles.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

/// The pictures in a folder and those below, sorted. What is hidden is no picture of anyone's.
std::vector<std::string> pictures_in(const std::string& folder) {
  std::vector<std::string> pictures;
  for (fs::recursive_directory_iterator at(folder), end; at != end; ++at) {
    if (at->path().filename().string().starts_with("."))
      at.disable_recursion_pending();
    else if (at->is_regular_file() && has_image_extension(at->path()))
      pictures.push_back(at->path().string());
  }
  ESPALIER_CHECK(!pictures.empty(), folder, ": holds no .jpg, .png or .bmp");
  std::sort(pictures.begin(), pictures.end());
  return pictures;
}

/// Files as they are, folders as the pictures in them; each once, since results count.
std::vector<std::string> pictures_of(const std::vector<std::string>& paths) {
  std::vector<std::string> pictures;
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    ESPALIER_CHECK(fs::exists(path), path, ": there is no such file or folder");
    const bool folder = fs::is_directory(path);
    for (const std::string& picture : folder ? pictures_in(path) : std::vector{path})
      if (seen.insert(fs::absolute(picture).lexically_normal().string()).second) pictures.push_back(picture);
  }
  return pictures;
}

Predictor open_predictor(const std::string& model, const Recipe& recipe, Device device) {
  return Predictor(model, {.device = device == Device::kCpu ? "cpu" : str("cuda:", recipe.device.number),
                           .precision = recipe.precision,
                           .task_options = recipe.task_options.dump()});
}

Prediction predict_image(Predictor& predictor, const Image& image) {
  return predictor.predict({image.width, image.height, image.pixels.data()});
}

/// Writes what is seen on each picture into a folder; nothing without one.
class Folder {
 public:
  Folder(fs::path folder, const std::vector<std::string>& pictures, const std::string& task)
      : folder_(std::move(folder)) {
    if (folder_.empty()) return;
    std::error_code error;
    fs::create_directories(folder_, error);
    ESPALIER_CHECK(fs::is_directory(folder_), folder_.string(), ": is no folder that can be written to (",
                   error.message(), ")");
    for (const std::string& picture : pictures)
      ESPALIER_CHECK(!fs::equivalent(fs::absolute(picture).parent_path(), folder_), picture,
                     ": lies in the folder of --out, where the drawn pictures go; name another one");
    if (is_ours()) return;
    check_free(kList);
    for (const std::string& picture : pictures) {
      const std::string name = name_of(picture);
      if (task == "segmentation") check_free(name + ".png");
      if (task != "classification") check_free(name + ".jpg");
    }
    names_.clear();
    write_list(Json::array());  // so that the same command may write again what it did not finish
  }

  /// Under the picture's own name, with a number where two have the same. Returns the files' names.
  Json write(const std::string& picture, Image image, const Prediction& prediction,
             const std::vector<std::string>& labels, const DrawOptions& options) {
    Json files = Json::object();
    if (folder_.empty()) return files;
    const std::string name = name_of(picture);
    const Mask& mask = prediction.mask;
    if (!mask.empty()) {
      files["mask"] = name + ".png";
      write_index_png(folder_ / (name + ".png"),
                      {mask.width, mask.height, {mask.classes.begin(), mask.classes.end()}}, voc_palette());
    }
    if (prediction.classes.empty()) {
      constexpr int kQuality = 95;
      files["drawn"] = name + ".jpg";
      draw(image, prediction, labels, options);
      write_jpeg(folder_ / (name + ".jpg"), image, kQuality);
    }
    return files;
  }

  /// All of it in one list, an entry a line, which for boxes is COCO's results format.
  void write_list(const Json& predictions) const {
    if (folder_.empty()) return;
    std::string text;
    for (size_t i = 0; i < predictions.size(); ++i)
      for (const Json& found : predictions[i].at("best")) {
        Json entry = {{"image_id", predictions[i].at("image_id")}, {"file_name", predictions[i].at("image")}};
        entry.update(found);
        text += (text.empty() ? "[\n" : ",\n") + entry.dump();
      }
    write_atomically(folder_ / kList, (text.empty() ? "[" : text + "\n") + "]\n");
  }

 private:
  static constexpr const char* kList = "predictions.json";

  std::string name_of(const std::string& picture) {
    const std::string name = fs::path(picture).stem().string();
    const int times = names_[name]++;
    return times > 0 ? str(name, ".", times + 1) : name;
  }

  /// Whether an earlier call wrote its list here; then the rest is of that call, too.
  bool is_ours() const {
    if (!fs::exists(folder_ / kList)) return false;
    const Json list = parse_json(read_file(folder_ / kList));
    return list.is_array() && std::all_of(list.begin(), list.end(), [](const Json& entry) {
             return entry.is_object() && entry.contains("image_id") && entry.contains("file_name");
           });
  }

  void check_free(const std::string& name) const {
    ESPALIER_CHECK(!fs::exists(folder_ / name), (folder_ / name).string(),
                   ": is there already, and no earlier predict wrote it; name an empty folder with --out");
  }

  fs::path folder_;
  std::map<std::string, int> names_;
};

/// What pictures and classes are called in results: their places, or as a COCO file numbers them.
struct Numbers {
  std::map<std::string, int64_t> images;
  std::vector<int64_t> categories;  ///< of each label; empty: the labels' own numbers

  Numbers(const std::string& coco, const std::vector<std::string>& pictures,
          const std::vector<std::string>& labels) {
    if (coco.empty()) {
      for (const std::string& picture : pictures)
        images.emplace(picture, static_cast<int64_t>(images.size()));
      return;
    }
    const CocoNumbers file(coco);
    categories = file.categories(labels);
    for (const std::string& picture : pictures) images.emplace(picture, file.image(picture));
  }

  void apply(Json& entry) const {
    entry["image_id"] = images.at(entry.at("image"));
    if (categories.empty()) return;
    for (Json& found : entry.at("best")) {
      Json& id = found.at("category_id");
      id = categories.at(id.get<size_t>());
    }
  }
};

/// "a.jpg:  carrot 91.2 %  leek 3.0 %"; of boxes those that are drawn.
std::string line_of(const Json& prediction, double threshold) {
  std::string text = prediction.at("image").get<std::string>() + ":";
  for (const Json& found : prediction.at("best")) {
    const double share = found.value("score", found.value("share", 0.0));
    if (found.contains("bbox") && share < threshold) continue;
    text += fmt::format("  {} {:.1f} %", found.at("category").get<std::string>(), 100 * share);
  }
  return text;
}

}  // namespace

Command add_predict(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string model, out, coco;
    std::vector<std::string> paths;
    DrawOptions draw;
    TileOptions tiles{.tile = 0};
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("predict", "what a model sees on pictures");
  app->add_option("MODEL", options->model, "a model file, FP32 or INT8; it knows how to prepare pictures")
      ->required();
  app->add_option("PATH", options->paths, "pictures, or folders of them")->required();
  app->add_option(
      "--out", options->out,
      "folder for predictions.json (boxes as COCO's results), pictures with boxes or masks drawn "
      "on them, and masks as PNG whose numbers are the classes; only what an earlier predict wrote there "
      "is written over");
  app->add_option(
      "--coco", options->coco,
      "annotation file whose ids results take, of pictures by file name and of classes by name; by "
      "default pictures are numbered as they come and classes as the model's, both from 0");
  app->add_option("--threshold", options->draw.threshold, "score of boxes to draw; default 0.5")
      ->check(CLI::Range(0.0, 1.0));
  app->add_option("--opacity", options->draw.opacity, "of masks on drawn pictures; default 0.6")
      ->check(CLI::Range(0.0, 1.0));
  app->add_option("--tile", options->tiles.tile,
                  "segmentation of large pictures by squares of so many pixels; by default in one piece")
      ->check(CLI::Range(1, 65536));
  app->add_option("--pad", options->tiles.pad, "pixels seen around each square; default 64")
      ->check(CLI::Range(0, 65536));
  app->add_option("--set", options->step.overrides, "KEY=VALUE, for example task.score_threshold=0.1")
      ->take_all()
      ->allow_extra_args(false);
  add_machine_options(app, options->step);
  return {app, [options](const Output& output) -> int {
            const Recipe recipe = step_recipe(options->step, options->model, false);
            Workbench bench(recipe);
            Predictor predictor = open_predictor(options->model, recipe, bench.device());
            const std::vector<std::string>& labels = predictor.labels();
            const auto task = make_task(predictor.task(), static_cast<int>(labels.size()), {});
            ESPALIER_CHECK(options->tiles.tile == 0 || predictor.task() == "segmentation",
                           "--tile puts masks together, and ", options->model, " is a model for ",
                           predictor.task(), "; leave it out");
            ESPALIER_CHECK(options->coco.empty() || predictor.task() == "detection",
                           "--coco numbers boxes, and ", options->model, " is a model for ", predictor.task(),
                           "; leave it out");
            const std::vector<std::string> pictures = pictures_of(options->paths);
            const Numbers numbers(options->coco, pictures, labels);
            Folder folder(options->out, pictures, predictor.task());
            Json predictions = Json::array(), errors = Json::array();
            for (const std::string& picture : pictures) {
              if (interrupt_requested()) {
                folder.write_list(predictions);
                throw Interrupted("interrupted before " + picture);
              }
              try {
                ESPALIER_CHECK(is_utf8(picture), picture,
                               ": its name is no UTF-8 text, which predictions.json holds; rename the file");
                const Image image = read_image(picture);
                const Running place(picture);  // for transforms, which know no names
                Prediction prediction;
                if (options->tiles.tile > 0)
                  prediction.mask = predict_tiled(image, options->tiles, [&](const Image& window) {
                    return predict_image(predictor, window).mask;
                  });
                else
                  prediction = predict_image(predictor, image);
                Json entry = {{"image", picture}, {"best", task->describe(prediction, labels)}};
                numbers.apply(entry);
                entry.update(folder.write(picture, image, prediction, labels, options->draw));
                predictions.push_back(std::move(entry));
                output.text(line_of(predictions.back(), options->draw.threshold));
              } catch (const Error& e) {
                errors.push_back(e.what());
              }
            }
            folder.write_list(predictions);
            output.object({{"model", options->model}, {"predictions", predictions}, {"errors", errors}});
            for (const Json& error : errors) output.error(error);
            return errors.empty() ? kOk : kBadInput;
          }};
}

}  // namespace espalier
