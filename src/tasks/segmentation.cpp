// A class per pixel: cross entropy, dice, mean IoU at the size of the files.

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "kernels/magnitudes.h"
#include "ops/ops.h"
#include "ops/targets.h"
#include "tasks/confusion.h"
#include "tasks/options.h"
#include "tasks/pixel_map.h"
#include "tasks/task.h"
#include "tasks/task_table.h"

namespace espalier {

namespace {

struct SegmentationOptions {
  int classes = 2;
  bool cross_entropy = true, dice = false, bce = false;
  bool dynamic_weights = false;  ///< each batch's rare classes weigh more
  CrossEntropyOptions loss;
  bool paddlex_compat = false;

  int channels() const { return cross_entropy ? classes : 1; }
};

const Tensor& logits_of(const Tensors& outputs, const SegmentationOptions& o) {
  ESPALIER_CHECK(
      outputs.size() == 1 && outputs[0].shape().axes() == 4 && outputs[0].channels() == o.channels(),
      "segmentation: the network has ", outputs.size(), " outputs",
      outputs.empty() ? "" : str(", the first ", outputs[0].shape()), "; one of [N,H,W,", o.channels(),
      "] is needed for ",
      o.cross_entropy ? str(o.classes, " classes") : "the losses dice and bce, by model.logits: single");
  return outputs[0];
}

/// One image's logits [H,W,K], which must be finite.
const float* checked_logits(const Tensor& logits, int image, const std::string& name) {
  const int64_t count = int64_t{logits.shape()[1]} * logits.shape()[2] * logits.channels();
  const float* x = logits.f32() + image * count;
  float bad = 0;  // what is not finite gives NaN when multiplied by 0
  for (int64_t i = 0; i < count; ++i) bad += x[i] * 0.0f;
  check_finite_output(bad == 0, name);
  return x;
}

/// The likeliest class of a pixel, the first of equal ones; of a single logit, 1 above 0.
uint8_t best_class(const float* x, int channels) {
  int k = channels == 1 && x[0] > 0;
  for (int other = 1; other < channels; ++other)
    if (x[other] > x[k]) k = other;
  return static_cast<uint8_t>(k);
}

/// The network's label map at the size of the picture in the file: the best class of the pixel nearest to
/// each of the file's, as the reference does it.
void nearest_classes(const float* x, int H, int W, int K, const PixelMap& map, Mask& mask) {
  const std::vector<int> columns = nearest_pixels(mask.width, map.scale_x, map.offset_x, W),
                         rows = nearest_pixels(mask.height, map.scale_y, map.offset_y, H);
  uint8_t* out = mask.classes.data();
  for (const int row : rows)
    for (const int column : columns) *out++ = best_class(x + (int64_t{row} * W + column) * K, K);
}

/// The same from logits interpolated between the network's pixels: edges follow the objects, not the
/// network's grid.
void interpolated_classes(const float* x, int H, int W, int K, const PixelMap& map, Mask& mask) {
  const std::vector<BetweenPixels> columns = pixels_between(mask.width, map.scale_x, map.offset_x, W),
                                   rows = pixels_between(mask.height, map.scale_y, map.offset_y, H);
  std::vector<float> line(static_cast<size_t>(W) * K), pixel(static_cast<size_t>(K));
  uint8_t* out = mask.classes.data();
  for (const BetweenPixels& row : rows) {
    const float *above = x + int64_t{row.low} * W * K, *below = x + int64_t{row.high} * W * K;
    for (int i = 0; i < W * K; ++i) line[i] = above[i] + row.share * (below[i] - above[i]);
    for (const BetweenPixels& column : columns) {
      const float *left = line.data() + column.low * K, *right = line.data() + column.high * K;
      for (int k = 0; k < K; ++k) pixel[k] = left[k] + column.share * (right[k] - left[k]);
      *out++ = best_class(pixel.data(), K);
    }
  }
}

/// The map on the GPU where the logits are, u8 [height,width].
Tensor map_on_gpu(const Tensor& logits, int image, const Annotation& picture, const SegmentationOptions& o,
                  const std::string& name) {
  const Device device = logits.device();
  const int H = logits.shape()[1], W = logits.shape()[2], K = logits.channels();
  const int64_t values = int64_t{H} * W * K;
  const float* x = logits.f32() + image * values;
  check_finite_output(kernels::magnitude_range(device, values, x).finite, name);
  const auto places = [&](int file_extent, double scale, double offset, int extent) {
    std::vector<BetweenPixels> between;
    if (!o.paddlex_compat) return pixels_between(file_extent, scale, offset, extent);
    for (const int at : nearest_pixels(file_extent, scale, offset, extent)) between.push_back({at, at, 0});
    return between;
  };
  const auto there = [&](const std::vector<BetweenPixels>& list) {
    constexpr int kWords = sizeof(BetweenPixels) / sizeof(int32_t);
    Tensor t({static_cast<int>(list.size()), kWords}, device, DType::kS32);
    kernels::copy(device, t.data(), Device::kCpu, list.data(), list.size() * sizeof(BetweenPixels));
    return t;
  };
  const PixelMap& to = picture.to_network;
  const Tensor columns = there(places(picture.width, to.scale_x, to.offset_x, W)),
               rows = there(places(picture.height, to.scale_y, to.offset_y, H));
  Tensor map({picture.height, picture.width}, device, DType::kU8);
  kernels::label_map(device,
                     {.logits = x,
                      .W = W,
                      .K = K,
                      .width = picture.width,
                      .height = picture.height,
                      .columns = static_cast<const BetweenPixels*>(columns.data()),
                      .rows = static_cast<const BetweenPixels*>(rows.data())},
                     map.u8());
  return map;
}

/// The network's label map, at the size of the picture in the file.
Mask mask_in_file(const Tensor& logits, int image, const Annotation& picture, const SegmentationOptions& o,
                  const std::string& name) {
  check_picture(picture, name);
  Mask mask{picture.width, picture.height, {}};
  mask.classes.resize(static_cast<size_t>(mask.width) * mask.height);
  if (logits.device() == Device::kCuda) {
    const Tensor map = map_on_gpu(logits, image, picture, o, name).to(Device::kCpu);
    std::copy_n(map.u8(), mask.classes.size(), mask.classes.begin());
    return mask;
  }
  const auto fill = o.paddlex_compat ? nearest_classes : interpolated_classes;
  fill(checked_logits(logits, image, name), logits.shape()[1], logits.shape()[2], logits.channels(),
       picture.to_network, mask);
  return mask;
}

/// Counts the pixels of one picture, whose mask fits it, where the logits are.
void add_picture(Confusion& confusion, const Tensor& logits, int image, const Annotation& picture,
                 const SegmentationOptions& o, const std::string& name) {
  if (logits.device() == Device::kCpu)
    return confusion.add(picture.mask.classes, mask_in_file(logits, image, picture, o, name).classes);
  check_picture(picture, name);
  const Tensor map = map_on_gpu(logits, image, picture, o, name);
  const Tensor labels(map.shape(), map.device(), DType::kU8);
  kernels::copy(labels.device(), labels.data(), Device::kCpu, picture.mask.classes.data(),
                picture.mask.classes.size());
  std::vector<int64_t> seen(static_cast<size_t>(o.classes) * 256);
  kernels::count_label_pairs(map.device(), map.elements(), o.classes, labels.u8(), map.u8(), seen.data());
  confusion.add(seen);
}

/// One weight a class, in proportion to 1 / (pixels + 1), their sum the number of classes.
std::vector<float> balanced_weights(const Tensor& labels, int classes) {
  std::vector<double> weights(static_cast<size_t>(classes), 1.0);
  for (int64_t i = 0; i < labels.elements(); ++i)
    if (const int label = labels.s32()[i]; label >= 0 && label < classes) ++weights[label];
  double sum = 0;
  for (double& weight : weights) sum += weight = 1 / weight;
  std::vector<float> scaled;
  for (const double weight : weights) scaled.push_back(static_cast<float>(weight / sum * classes));
  return scaled;
}

/// The label map, which the loss compares with.
const Tensor& labels_of(const Batch& batch) {
  ESPALIER_CHECK(batch.targets.size() == 1, "segmentation: a batch has ", batch.targets.size(),
                 " targets; one is needed, the classes of the pixels");
  return batch.targets[0];
}

class SegmentationMetric final : public Metric {
 public:
  SegmentationMetric(const SegmentationOptions& o, const char* name)
      : options_(o), name_(name), confusion_(o.classes, o.paddlex_compat) {}

  void update(const Tensors& outputs, const Batch& batch) override {
    const Tensor& logits = logits_of(outputs, options_);
    const int images = logits.shape()[0];
    ESPALIER_CHECK(static_cast<int>(batch.annotations.size()) == images, "segmentation: there are ",
                   batch.annotations.size(), " masks for ", images, " images");
    for (int i = 0; i < images; ++i) {
      const Annotation& picture = batch.annotations[i];
      const std::string name = image_name(batch, i);
      ESPALIER_CHECK(!picture.mask.empty(), name, ": there is no mask to compare with");
      ESPALIER_CHECK(picture.mask.width == picture.width && picture.mask.height == picture.height, name,
                     ": its mask is ", picture.mask.width, "x", picture.mask.height, ", the picture ",
                     picture.width, "x", picture.height, "; they must be equal");
      for (const uint8_t label : picture.mask.classes)
        ESPALIER_CHECK(label < options_.classes || label == Mask::kIgnored, name, ": its mask has class ",
                       int{label}, ", the network has classes 0 .. ", options_.classes - 1);
      add_picture(confusion_, logits, i, picture, options_, name);
    }
    add_loss(logits, batch);
  }

  MetricResult summary() const override {
    ESPALIER_CHECK(confusion_.pictures() > 0, "segmentation: no image was measured");
    ESPALIER_CHECK(confusion_.pixels() > 0, "segmentation: all pixels of all ", confusion_.pictures(),
                   " masks are ignored; nothing can be measured");
    MetricResult r;
    r.name = name_;
    r.samples = confusion_.pictures();
    r.value = confusion_.mean_iou();
    r.loss = loss_ / static_cast<double>(r.samples);
    std::tie(r.low, r.high) = confusion_.mean_iou_interval();
    return r;
  }

  MetricResult result() const override {
    MetricResult r = summary();
    Json iou = Json::array(), recall = Json::array(), precision = Json::array(), f1 = Json::array(),
         counts = Json::array(), matrix = Json::array();
    for (int k = 0; k < options_.classes; ++k) {
      iou.push_back(number_or_null(confusion_.iou(k)));
      recall.push_back(number_or_null(confusion_.recall(k)));
      precision.push_back(number_or_null(confusion_.precision(k)));
      f1.push_back(number_or_null(confusion_.f1(k)));
      counts.push_back(confusion_.labelled(k));
      Json row = Json::array();
      for (int other = 0; other < options_.classes; ++other) row.push_back(confusion_.at(k, other));
      matrix.push_back(std::move(row));
    }
    r.details = std::make_shared<Json>(Json{{"accuracy", confusion_.accuracy()},
                                            {"kappa", confusion_.kappa()},
                                            {"per_class", iou},
                                            {"accuracies", recall},
                                            {"precisions", precision},
                                            {"f1", f1},
                                            {"counts", counts},
                                            {"confusion", matrix}});
    return r;
  }

 private:
  /// The plain loss, without weights and smoothing, so that runs can be compared.
  void add_loss(const Tensor& logits, const Batch& batch) {
    if (batch.targets.empty()) return;
    const NoGrad plain;
    const Tensor labels = labels_of(batch).to(logits.device());
    const Tensor loss = options_.cross_entropy
                            ? softmax_cross_entropy(logits, labels, {.ignored_label = Mask::kIgnored})
                            : sigmoid_cross_entropy(logits, labels, Mask::kIgnored);
    loss_ += double{loss.item()} * logits.shape()[0];
  }

  SegmentationOptions options_;
  const char* name_;
  Confusion confusion_;
  double loss_ = 0;
};

struct Segmentation final : Task {
  SegmentationOptions options;

  const char* name() const override { return "segmentation"; }
  const char* metric_name() const override { return "miou"; }

  Tensor loss(const Tensors& outputs, const Batch& batch) const override {
    const Tensor& logits = logits_of(outputs, options);
    const Tensor labels = labels_of(batch).to(logits.device());
    if (options.cross_entropy) {
      CrossEntropyOptions o = options.loss;
      if (options.dynamic_weights)
        o.class_weights = balanced_weights(labels.to(Device::kCpu), options.classes);
      return softmax_cross_entropy(logits, labels, o);
    }
    Tensor sum;
    if (options.dice) sum = dice_loss(logits, labels, Mask::kIgnored);
    if (!options.bce) return sum;
    const Tensor bce = sigmoid_cross_entropy(logits, labels, Mask::kIgnored);
    return sum.defined() ? add(sum, bce) : bce;
  }

  Tensors checked_targets(const Batch& batch) const override {
    check_labels(name(), labels_of(batch), options.classes, Mask::kIgnored);
    return batch.targets;
  }

  Tensor distillation(const Tensors& outputs, const Tensors& teacher, const Batch& batch,
                      double temperature) const override {
    const Tensor& logits = logits_of(outputs, options);
    return distillation_loss(logits, logits_of(teacher, options), labels_of(batch).to(logits.device()),
                             static_cast<float>(temperature), Mask::kIgnored);
  }

  std::unique_ptr<Metric> metric() const override {
    return std::make_unique<SegmentationMetric>(options, metric_name());
  }

  Prediction decode(const Tensors& outputs, int image, const Annotation& picture) const override {
    const Tensor& logits = logits_of(outputs, options);
    ESPALIER_CHECK(image >= 0 && image < logits.shape()[0], "segmentation: image ", image, " of ",
                   logits.shape()[0]);
    Prediction prediction;
    prediction.mask = mask_in_file(logits, image, picture, options, str("image ", image, " of the batch"));
    return prediction;
  }

  Json decoding() const override {
    return {{"class",
             options.channels() > 1 ? "the channel of the largest logit" : "1 where the logit is above 0"}};
  }

  /// The classes that are there, with their share of the picture.
  Json describe(const Prediction& prediction, const std::vector<std::string>& labels) const override {
    const std::vector<uint8_t>& classes = prediction.mask.classes;
    std::vector<int64_t> pixels(256);
    for (const uint8_t k : classes) ++pixels[k];
    Json list = Json::array();
    for (int k = 0; k < options.classes; ++k)
      if (pixels[k] > 0)
        list.push_back({{"category_id", k},
                        {"category", label_name(labels, k)},
                        {"share", static_cast<double>(pixels[k]) / static_cast<double>(classes.size())}});
    return list;
  }
};

void read_losses(const TaskOptions& given, SegmentationOptions& o) {
  const Json* losses = given.find("losses");
  if (!losses) return;
  std::set<std::string> names;
  if (losses->is_array())
    for (const Json& loss : *losses) names.insert(loss.is_string() ? loss.get<std::string>() : loss.dump());
  o.cross_entropy = names.erase("cross_entropy") > 0;
  o.dice = names.erase("dice") > 0;
  o.bce = names.erase("bce") > 0;
  if (!names.empty() || !(o.cross_entropy || o.dice || o.bce))
    given.reject("losses", "a list of cross_entropy, dice and bce is needed");
  if (o.cross_entropy && (o.dice || o.bce))
    given.reject("losses", "cross_entropy needs an output a class, dice and bce a single one; take one side");
  if (!o.cross_entropy && o.classes != 2)
    given.reject("losses", str("dice and bce are for 2 classes, and there are ", o.classes));
}

}  // namespace

std::unique_ptr<Task> make_segmentation(int classes, const Json& json) {
  const TaskOptions given("segmentation", json,
                          {"losses", "class_weights", "label_smoothing", "paddlex_compat"});
  ESPALIER_CHECK(classes >= 2 && classes <= Mask::kIgnored, "segmentation: classes is ", classes,
                 "; it must lie in 2 .. ", int{Mask::kIgnored}, ", since a mask has a byte a pixel");
  auto task = std::make_unique<Segmentation>();
  SegmentationOptions& o = task->options;
  o.classes = classes;
  o.paddlex_compat = given.boolean("paddlex_compat", false);
  o.loss.ignored_label = Mask::kIgnored;
  o.loss.denominator_eps = 1e-5f;
  o.loss.plain_mean = true;
  o.loss.label_smoothing = static_cast<float>(given.smoothing("label_smoothing"));
  read_losses(given, o);
  const Json* weights = given.find("class_weights");
  o.dynamic_weights = weights && *weights == "dynamic";
  if (weights && !o.dynamic_weights) {
    if (weights->is_string()) given.reject("class_weights", "expected a list, or dynamic");
    o.loss.class_weights = given.class_weights("class_weights", classes);
  }
  if (weights && !o.cross_entropy) given.reject("class_weights", "dice and bce take none; leave the key out");
  return task;
}

}  // namespace espalier
