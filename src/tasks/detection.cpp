// Boxes around objects, by YOLOv3: its loss, its decoding, mean average precision in the pixels of the files.

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ops/ops.h"
#include "ops/targets.h"
#include "tasks/average_precision.h"
#include "tasks/options.h"
#include "tasks/task.h"
#include "tasks/task_table.h"
#include "tasks/yolo.h"

namespace espalier {

namespace {

struct DetectionOptions {
  YoloLayout layout;
  float ignore_threshold = 0.7f;
  bool label_smooth = false;
  NmsOptions nms;
  MapRule rule = MapRule::kVoc11;
  bool paddlex_compat = false;
};

/// Its only target.
const Tensor& boxes_of(const Batch& batch) {
  ESPALIER_CHECK(batch.targets.size() == 1, "detection: a batch has ", batch.targets.size(),
                 " targets; one is needed, the boxes");
  return batch.targets[0];
}

/// The sum over the heads of the reference's loss.
Tensor yolo_loss_of(const DetectionOptions& o, const Tensors& heads, const Batch& batch) {
  o.layout.check(heads);
  const Tensor boxes = boxes_of(batch).to(heads[0].device());
  Tensor sum;
  for (size_t i = 0; i < heads.size(); ++i) {
    const Tensor loss = yolo_loss(heads[i], boxes,
                                  {.anchors = o.layout.anchors,
                                   .mask = o.layout.masks[i],
                                   .classes = o.layout.classes,
                                   .downsample = o.layout.strides[i],
                                   .ignore_threshold = o.ignore_threshold,
                                   .label_smooth = o.label_smooth});
    sum = sum.defined() ? add(sum, loss) : loss;
  }
  return sum;
}

std::vector<ObjectBox> found_in(const DetectionOptions& o, const Tensors& heads, int image,
                                const Annotation& picture, const std::string& name) {
  return detect_yolo(o.layout, heads, image, picture, o.nms, name);
}

/// To a thousandth of a pixel.
double rounded(float x) { return std::round(1e3 * x) / 1e3; }

/// At most `kPoints` of a curve, evenly spread, the ends included.
Json curve_json(const PrecisionCurve& curve) {
  constexpr size_t kPoints = 101;
  Json recall = Json::array(), precision = Json::array(), score = Json::array();
  const size_t all = curve.recall.size(), points = std::min(all, kPoints);
  for (size_t i = 0; i < points; ++i) {
    const size_t at = points == 1 ? 0 : i * (all - 1) / (points - 1);
    recall.push_back(curve.recall[at]);
    precision.push_back(curve.precision[at]);
    score.push_back(curve.score[at]);
  }
  return {{"recall", recall}, {"precision", precision}, {"score", score}};
}

class DetectionMetric final : public Metric {
 public:
  DetectionMetric(const DetectionOptions& o, const char* name)
      : options_(o), name_(name), precision_(o.layout.classes, o.rule, o.nms.inclusive) {}

  void update(const Tensors& outputs, const Batch& batch) override {
    options_.layout.check(outputs);
    const int images = outputs[0].shape()[0];
    ESPALIER_CHECK(static_cast<int>(batch.annotations.size()) == images, "detection: there are ",
                   batch.annotations.size(), " annotations for ", images, " images");
    std::vector<std::vector<ObjectBox>> found;
    bool any = false;
    for (int i = 0; i < images; ++i) {
      const std::string name = image_name(batch, i);
      for (const ObjectBox& box : batch.annotations[i].boxes)
        ESPALIER_CHECK(box.label >= 0 && box.label < options_.layout.classes, name,
                       ": has an object of class ", box.label, ", the network has classes 0 .. ",
                       options_.layout.classes - 1);
      found.push_back(found_in(options_, outputs, i, batch.annotations[i], name));
      any |= !found.back().empty();
    }
    samples_ += images;
    if (!batch.targets.empty()) {
      const NoGrad plain;
      loss_ += double{yolo_loss_of(options_, outputs, batch).item()} * images;
    }
    // The reference forgets the objects of a batch without a single detection, which flatters weak networks.
    if (options_.paddlex_compat && !any) return;
    for (int i = 0; i < images; ++i) precision_.add(found[i], batch.annotations[i].boxes);
  }

  MetricResult summary() const override {
    ESPALIER_CHECK(samples_ > 0, "detection: no image was measured");
    ESPALIER_CHECK(precision_.objects() > 0 || precision_.pictures() < samples_, "detection: none of the ",
                   samples_, " images has an object; an average precision cannot be measured");
    MetricResult r;
    r.name = name_;
    r.samples = samples_;
    r.loss = loss_ / static_cast<double>(samples_);
    if (precision_.objects() > 0) {
      r.value = precision_.mean();
      std::tie(r.low, r.high) = precision_.interval();
    }
    return r;
  }

  MetricResult result() const override {
    MetricResult r = summary();
    Json average = Json::array(), counts = Json::array(), boxes = Json::array(), curves = Json::array();
    for (int k = 0; k < options_.layout.classes; ++k) {
      average.push_back(number_or_null(precision_.of_class(k)));
      counts.push_back(precision_.objects(k));
      boxes.push_back(precision_.detections(k));
      curves.push_back(curve_json(precision_.curve(k)));
    }
    r.details = std::make_shared<Json>(
        Json{{"per_class", average}, {"counts", counts}, {"detections", boxes}, {"curves", curves}});
    if (options_.rule == MapRule::kCoco && precision_.objects() > 0) {
      (*r.details)["map50"] = precision_.mean_at(0.5);
      (*r.details)["map75"] = precision_.mean_at(0.75);
    }
    return r;
  }

 private:
  DetectionOptions options_;
  const char* name_;
  AveragePrecision precision_;
  int64_t samples_ = 0;
  double loss_ = 0;
};

struct Detection final : Task {
  DetectionOptions options;

  const char* name() const override { return "detection"; }
  const char* metric_name() const override { return "map"; }

  Tensor loss(const Tensors& outputs, const Batch& batch) const override {
    return yolo_loss_of(options, outputs, batch);
  }

  Tensors checked_targets(const Batch& batch) const override {
    const Tensor& boxes = boxes_of(batch);
    check_boxes(name(), boxes, options.layout.classes);
    constexpr int kMultiple = 16;
    const int N = boxes.shape()[0], M = boxes.shape()[1], most = (M + kMultiple - 1) / kMultiple * kMultiple;
    if (most == M) return batch.targets;
    const Tensor filled = Tensor::zeros({N, most, 6});
    for (int64_t i = 0; i < N; ++i)
      std::copy_n(boxes.f32() + i * M * 6, int64_t{M} * 6, filled.f32() + i * most * 6);
    return {filled};
  }

  Tensor distillation(const Tensors& outputs, const Tensors& teacher, const Batch&,
                      double temperature) const override {
    options.layout.check(outputs);
    options.layout.check(teacher);
    Tensor sum;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const Tensor loss = yolo_distillation_loss(outputs[i], teacher[i], options.layout.classes,
                                                 static_cast<float>(temperature));
      sum = sum.defined() ? add(sum, loss) : loss;
    }
    return sum;
  }

  std::unique_ptr<Metric> metric() const override {
    return std::make_unique<DetectionMetric>(options, metric_name());
  }

  Prediction decode(const Tensors& outputs, int image, const Annotation& picture) const override {
    options.layout.check(outputs);
    ESPALIER_CHECK(image >= 0 && image < outputs[0].shape()[0], "detection: image ", image, " of ",
                   outputs[0].shape()[0]);
    Prediction prediction;
    prediction.boxes = found_in(options, outputs, image, picture, str("image ", image, " of the batch"));
    return prediction;
  }

  /// Heads in the order of the outputs, anchors as width and height in the network's pixels (tasks/yolo.h).
  Json decoding() const override {
    const YoloLayout& layout = options.layout;
    Json heads = Json::array();
    for (size_t i = 0; i < layout.masks.size(); ++i) {
      Json anchors = Json::array();
      for (const int anchor : layout.masks[i]) anchors.push_back(layout.anchors[static_cast<size_t>(anchor)]);
      heads.push_back({{"stride", layout.strides[i]}, {"anchors", anchors}});
    }
    return {{"heads", heads},
            {"score_threshold", options.nms.score_threshold},
            {"nms_threshold", options.nms.overlap},
            {"nms_top_k", options.nms.top_k},
            {"keep_top_k", options.nms.keep}};
  }

  /// As COCO's results: left, top, width and height in pixels.
  Json describe(const Prediction& prediction, const std::vector<std::string>& labels) const override {
    Json list = Json::array();
    for (const ObjectBox& box : prediction.boxes)
      list.push_back(
          {{"category_id", box.label},
           {"category", label_name(labels, box.label)},
           {"bbox", {rounded(box.x0), rounded(box.y0), rounded(box.width()), rounded(box.height())}},
           {"score", box.score}});
    return list;
  }
};

YoloLayout read_layout(const TaskOptions& given, int classes) {
  YoloLayout layout = YoloLayout::of(classes);
  if (given.find("anchors")) {
    layout.anchors.clear();
    for (const std::vector<float>& size : given.rows("anchors", 2, {})) {
      if (!(size[0] > 0 && size[1] > 0))
        given.reject("anchors",
                     "each needs a width and a height above 0, in pixels of the network's picture");
      layout.anchors.emplace_back(size[0], size[1]);
    }
  }
  const std::string whole = "a list of lists is needed, the numbers of each head's anchors";
  if (const Json* masks = given.find("anchor_masks")) {
    layout.masks.clear();
    if (!masks->is_array() || masks->empty()) given.reject("anchor_masks", whole);
    for (const Json& mask : *masks) {
      if (!mask.is_array() || mask.empty()) given.reject("anchor_masks", whole);
      std::vector<int>& numbers = layout.masks.emplace_back();
      for (const Json& number : mask) {
        if (!number.is_number_integer()) given.reject("anchor_masks", whole);
        numbers.push_back(number.get<int>());
      }
    }
  }
  if (const Json* strides = given.find("strides")) {
    layout.strides.clear();
    if (!strides->is_array()) given.reject("strides", "a list of whole numbers is needed, one a head");
    for (const Json& stride : *strides) {
      if (!stride.is_number_integer() || stride.get<int64_t>() < 1 || stride.get<int64_t>() > 1024)
        given.reject("strides", "a list of whole numbers in 1 .. 1024 is needed, one a head");
      layout.strides.push_back(stride.get<int>());
    }
  }
  ESPALIER_CHECK(layout.strides.size() == layout.masks.size(), "detection: there are ", layout.strides.size(),
                 " strides and ", layout.masks.size(), " anchor_masks; as many are needed, one a head");
  for (const std::vector<int>& mask : layout.masks)
    for (const int anchor : mask)
      ESPALIER_CHECK(anchor >= 0 && anchor < static_cast<int>(layout.anchors.size()),
                     "detection: anchor_masks names anchor ", anchor, "; there are anchors 0 .. ",
                     layout.anchors.size() - 1);
  return layout;
}

}  // namespace

std::unique_ptr<Task> make_detection(int classes, const Json& json) {
  const TaskOptions given(
      "detection", json,
      {"anchors", "anchor_masks", "strides", "ignore_threshold", "label_smooth", "score_threshold",
       "nms_threshold", "nms_top_k", "keep_top_k", "map_rule", "paddlex_compat"});
  auto task = std::make_unique<Detection>();
  DetectionOptions& o = task->options;
  o.layout = read_layout(given, classes);
  o.ignore_threshold = static_cast<float>(given.number("ignore_threshold", 0.7, 0, 1));
  o.label_smooth = given.boolean("label_smooth", false);
  o.paddlex_compat = given.boolean("paddlex_compat", false);
  o.nms.score_threshold = static_cast<float>(given.number("score_threshold", 0.01, 0, 0.999));
  o.nms.overlap = static_cast<float>(given.number("nms_threshold", 0.45, 0, 1));
  o.nms.top_k = given.integer("nms_top_k", 1000, 1, 1000000);
  o.nms.keep = given.integer("keep_top_k", 100, 1, 1000000);
  o.nms.inclusive = o.paddlex_compat;
  const std::string rule = given.choice("map_rule", "voc11", {"voc11", "area", "coco"});
  o.rule = rule == "coco" ? MapRule::kCoco : rule == "area" ? MapRule::kArea : MapRule::kVoc11;
  return task;
}

}  // namespace espalier
