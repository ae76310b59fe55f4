// Pictures on which variants can be seen to differ.

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "datasets/resample.h"
#include "io/file.h"
#include "recipe/open_model.h"
#include "recipe/report.h"
#include "report/data_uri.h"
#include "runtime/session.h"
#include "tasks/drawing.h"
#include "tasks/nms.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

constexpr double kThreshold = 0.5;  ///< boxes with a lower score are not shown, and do not disagree

/// A picture, what is on it, and what each variant says.
struct Seen {
  std::string path;
  Prediction truth;
  std::vector<Prediction> variants;
};

std::vector<ObjectBox> shown(const Prediction& prediction) {
  std::vector<ObjectBox> boxes;
  for (const ObjectBox& box : prediction.boxes)
    if (box.score >= kThreshold) boxes.push_back(box);
  return boxes;
}

/// The share of boxes of either prediction that have no partner of their class in the other.
double box_difference(const Prediction& a, const Prediction& b) {
  constexpr float kPartner = 0.5f;
  const std::vector<ObjectBox> ours = shown(a), theirs = shown(b);
  if (ours.empty() && theirs.empty()) return 0;
  std::vector<bool> taken(theirs.size());
  size_t pairs = 0;
  for (const ObjectBox& box : ours)
    for (size_t i = 0; i < theirs.size(); ++i)
      if (!taken[i] && theirs[i].label == box.label && overlap_of(box, theirs[i]) > kPartner) {
        taken[i] = true;
        ++pairs;
        break;
      }
  return 1.0 - 2.0 * static_cast<double>(pairs) / static_cast<double>(ours.size() + theirs.size());
}

/// The share of pixels of other classes than the background's where two masks differ: background is most of
/// many pictures, and would hide the difference.
double mask_difference(const Mask& a, const Mask& b) {
  int64_t marked = 0, different = 0;
  for (size_t i = 0; i < a.classes.size(); ++i) {
    marked += is_marked(a.classes[i]) || is_marked(b.classes[i]);
    different += a.classes[i] != b.classes[i];
  }
  return marked ? static_cast<double>(different) / static_cast<double>(marked) : 0;
}

double difference(const Prediction& a, const Prediction& b) {
  if (!a.classes.empty()) return a.classes[0].label != b.classes[0].label;
  if (!a.mask.empty()) return mask_difference(a.mask, b.mask);
  return box_difference(a, b);
}

}  // namespace

double disagreement(const std::vector<Prediction>& predictions) {
  double most = 0;
  for (const Prediction& other : predictions) most = std::max(most, difference(predictions.at(0), other));
  return most;
}

namespace {

Prediction truth_of(const Batch& batch, int i) {
  Prediction truth;
  if (batch.annotations.empty()) {
    truth.classes.push_back({batch.targets.at(0).s32()[i], 1.0});
    return truth;
  }
  for (const ObjectBox& box : batch.annotations[i].boxes) truth.boxes.push_back(box);
  truth.mask = batch.annotations[i].mask;
  return truth;
}

/// What one model says about the first pictures of the list, added to `all`; the first model makes it.
void look(Workbench& bench, const Model& model, int64_t pictures, std::vector<Seen>& all) {
  const bool first = all.empty();
  const auto task = bench.task_of(model);
  Session session(model.graph.to(bench.device()));
  const auto source =
      bench.evaluation_batches("val", model.preprocessing, bench.recipe().data.batch, pictures);
  Batch batch;
  size_t at = 0;
  source->start();
  while (source->next(batch)) {
    if (interrupt_requested()) throw Interrupted("interrupted while predicting examples");
    const Tensors& outputs = session.run({network_images(batch, bench.device())});
    for (int i = 0; i < batch.size(); ++i, ++at) {
      if (first) all.push_back({.path = batch.names[i], .truth = truth_of(batch, i)});
      all[at].variants.push_back(
          task->decode(outputs, i, batch.annotations.empty() ? Annotation{} : batch.annotations[i]));
    }
  }
}

/// The part of a picture to look at. Where a mask or the truth marks something small, that and its
/// surroundings; else all of it.
Box interesting_part(const Seen& seen, const Image& image) {
  int left = image.width, top = image.height, right = 0, bottom = 0;
  const auto include = [&](const Mask& mask) {
    for (size_t i = 0; i < mask.classes.size(); ++i) {
      if (!is_marked(mask.classes[i])) continue;
      const int x = static_cast<int>(i) % mask.width, y = static_cast<int>(i) / mask.width;
      left = std::min(left, x);
      right = std::max(right, x + 1);
      top = std::min(top, y);
      bottom = std::max(bottom, y + 1);
    }
  };
  include(seen.truth.mask);
  for (const Prediction& variant : seen.variants) include(variant.mask);
  if (left >= right) return {0, 0, image.width, image.height};
  const int margin = std::max(right - left, bottom - top) / 2;
  left = std::max(0, left - margin);
  top = std::max(0, top - margin);
  right = std::min(image.width, right + margin);
  bottom = std::min(image.height, bottom + margin);
  return {left, top, right - left, bottom - top};
}

/// The prediction on a part of its picture that was resized.
Prediction scaled(const Prediction& prediction, const Box& part, int width, int height) {
  Prediction small;
  const float x = static_cast<float>(width) / static_cast<float>(part.width);
  const float y = static_cast<float>(height) / static_cast<float>(part.height);
  for (ObjectBox box : prediction.boxes) {
    box.x0 = x * (box.x0 - static_cast<float>(part.x));
    box.x1 = x * (box.x1 - static_cast<float>(part.x));
    box.y0 = y * (box.y0 - static_cast<float>(part.y));
    box.y1 = y * (box.y1 - static_cast<float>(part.y));
    small.boxes.push_back(box);
  }
  if (prediction.mask.empty()) return small;
  small.mask = {width, height, {}};
  const std::vector<int> columns = nearest_positions(part.width, width);
  for (const int row : nearest_positions(part.height, height))
    for (const int column : columns)
      small.mask.classes.push_back(
          prediction.mask
              .classes[static_cast<size_t>(part.y + row) * prediction.mask.width + part.x + column]);
  return small;
}

Json show(const Seen& seen, const Task& task, const std::vector<std::string>& labels) {
  const bool whole = seen.variants[0].classes.empty();  // boxes and masks are drawn, classes are said
  const int longest = whole ? 420 : 264;
  constexpr int kQuality = 82;
  const Image original = read_image(seen.path);
  const Box part = interesting_part(seen, original);
  const double scale = std::min(1.0, static_cast<double>(longest) / std::max(part.width, part.height));
  const auto length = [&](int full) { return std::max(1, static_cast<int>(std::lround(full * scale))); };
  const Image image = resize(original, part, length(part.width), length(part.height), Filter::kBicubic);
  const auto uri = [&](const Prediction& prediction) {
    Image drawn = image;
    // At this size tags would hide the objects; the page has a legend.
    const DrawOptions options = {.threshold = kThreshold, .opacity = 0.5, .tags = false, .line = 2};
    if (whole) draw(drawn, scaled(prediction, part, image.width, image.height), labels, options);
    return data_uri("image/jpeg", encode_jpeg(drawn, kQuality));
  };
  Json variants = Json::array();
  for (const Prediction& prediction : seen.variants) {
    Json entry = Json::object();
    if (whole) entry["image"] = uri(prediction);
    if (task.name() == std::string("detection")) entry["boxes"] = shown(prediction).size();
    for (size_t i = 0; i < std::min<size_t>(2, prediction.classes.size()); ++i)
      entry["classes"].push_back(
          {{"label", prediction.classes[i].label}, {"score", prediction.classes[i].score}});
    variants.push_back(std::move(entry));
  }
  return {{"name", fs::path(seen.path).filename().string()},
          {"image", uri(seen.truth)},
          {"width", image.width},
          {"height", image.height},
          {"boxes", seen.truth.boxes.size()},
          {"truth", seen.truth.classes.empty() ? Json(nullptr) : Json(seen.truth.classes[0].label)},
          {"disagree", disagreement(seen.variants)},
          {"variants", variants}};
}

/// What the legend must explain.
struct Colors {
  std::set<int> classes;
  bool ignored = false;  ///< pixels of no class
};

/// The classes that can be seen on a picture, added to those that were.
void collect_colors(const Seen& seen, Colors& colors) {
  std::vector<Prediction> all = seen.variants;
  all.push_back(seen.truth);
  for (const Prediction& prediction : all) {
    for (const ObjectBox& box : shown(prediction)) colors.classes.insert(box.label);
    for (const uint8_t k : prediction.mask.classes) {
      if (is_marked(k)) colors.classes.insert(k);
      colors.ignored |= k == Mask::kIgnored;
    }
  }
}

}  // namespace

Json example_predictions(Workbench& bench, const std::vector<std::pair<std::string, fs::path>>& variants,
                         int64_t pictures) {
  std::vector<Seen> all;
  std::vector<std::string> labels;
  Json names = Json::array();
  for (const auto& [name, file] : variants) {
    const Model model = open_model(file);
    bench.check_model(model, file.string());
    look(bench, model, pictures, all);
    labels = model.labels;
    names.push_back(name);
  }
  std::vector<size_t> order(all.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<double> apart;
  for (const Seen& seen : all) apart.push_back(disagreement(seen.variants));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return apart[a] > apart[b]; });
  const size_t wanted = all.empty() || all[0].variants[0].classes.empty() ? 8 : 12;
  Json shown_pictures = Json::array();
  Colors colors;
  for (size_t i = 0; i < std::min(wanted, order.size()); ++i) {
    shown_pictures.push_back(show(all[order[i]], bench.task(), labels));
    collect_colors(all[order[i]], colors);
  }
  Json legend = Json::array();
  const auto html = [](const Color& c) { return fmt::format("#{:02x}{:02x}{:02x}", c[0], c[1], c[2]); };
  for (const int k : colors.classes) legend.push_back({{"label", k}, {"color", html(class_color(k))}});
  if (colors.ignored)
    legend.push_back({{"label", nullptr}, {"name", "ignored"}, {"color", html(kIgnoredColor)}});
  return {{"task", bench.task().name()},
          {"list", "val"},
          {"looked_at", all.size()},
          {"disagreements", std::count_if(apart.begin(), apart.end(), [](double d) { return d > 0; })},
          {"variants", names},
          {"legend", legend},
          {"pictures", shown_pictures}};
}

namespace {

/// Without the keys that say nothing.
Json given(const Json& section) {
  Json kept = Json::object();
  for (const auto& [key, value] : section.items())
    if (!value.is_null()) kept[key] = value.is_object() ? given(value) : value;
  return kept;
}

}  // namespace

Recipe data_of_run(const fs::path& run) {
  const fs::path file = run / "recipe.json";
  const Json complete = read_run_file(file);
  Document document;
  document.file = file.string();
  document.root = {{"model", {{"name", complete.at("model").at("name")}}},
                   {"data", given(complete.at("data"))},
                   {"task", given(complete.at("task"))},
                   {"seed", complete.at("seed")},
                   {"threads", complete.at("threads")},
                   {"stages", Json::array({Json{{"evaluate", Json::object()}}})}};
  document.root["data"].erase("make");  // a report draws nothing
  return make_recipe(std::move(document), fs::absolute(run).lexically_normal().filename().string());
}

}  // namespace espalier
