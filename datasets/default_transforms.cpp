// The transforms that a recipe gets without asking, for each task.

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "datasets/transforms.h"

namespace espalier {

namespace {

const Json kFlip = {{"name", "random_horizontal_flip"}};

Json normalize_to_one() {
  return {{"name", "normalize"}, {"mean", {0.5, 0.5, 0.5}}, {"std", {0.5, 0.5, 0.5}}};
}

/// From about half of `size` up to it in steps of 32, which is what the strides of a detector divide; `size`
/// alone when it is no such step itself.
std::vector<int> scales_up_to(int size) {
  constexpr int kStep = 32;
  constexpr double kLeast = 320.0 / 608;
  std::vector<int> sizes;
  if (size % kStep == 0)
    for (int s = std::max(kStep, static_cast<int>(std::lround(size * kLeast / kStep)) * kStep); s < size;
         s += kStep)
      sizes.push_back(s);
  sizes.push_back(size);
  return sizes;
}

[[noreturn]] void unknown(const std::string& task) {
  fail(str("there are no transforms for task '", task, "'"));
}

}  // namespace

Json default_train_transforms(const std::string& task, int size) {
  Json list;
  if (task == "classification") {
    list = {{{"name", "random_resized_crop"}, {"size", size}}, kFlip, {{"name", "normalize"}}};
  } else if (task == "detection") {
    list = {
        {{"name", "mixup"}},
        {{"name", "color_distort"}, {"brightness", 0.5}, {"contrast", 0.5}, {"saturation", 0.5}, {"hue", 18}},
        {{"name", "random_expand"}},
        {{"name", "random_iou_crop"}},
        {{"name", "multi_scale_resize"}, {"sizes", scales_up_to(size)}, {"filter", "random"}},
        kFlip,
        {{"name", "normalize"}}};
  } else if (task == "segmentation") {
    const auto side = [&](int of_512) { return static_cast<int>(std::lround(size * of_512 / 512.0)); };
    list = {kFlip,
            {{"name", "random_resize_long"}, {"low", side(400)}, {"high", side(600)}},
            {{"name", "random_padding_crop"}, {"size", size}},
            normalize_to_one()};
  } else {
    unknown(task);
  }
  return Pipeline(list).to_json();
}

Json default_eval_transforms(const std::string& task, int size) {
  Json list;
  if (task == "classification") {
    const int shorter = static_cast<int>(std::lround(size * 256.0 / 224.0));
    list = {{{"name", "resize_short"}, {"size", shorter}},
            {{"name", "center_crop"}, {"size", size}},
            {{"name", "normalize"}}};
  } else if (task == "detection") {
    list = {{{"name", "resize"}, {"width", size}, {"height", size}, {"filter", "bicubic"}},
            {{"name", "normalize"}}};
  } else if (task == "segmentation") {
    list = {{{"name", "resize_long"}, {"size", size}}, {{"name", "pad"}, {"size", size}}, normalize_to_one()};
  } else {
    unknown(task);
  }
  return Pipeline(list).to_json();
}

}  // namespace espalier
