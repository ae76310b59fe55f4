// Transforms for pictures with boxes: two pictures mixed, room around, crops that keep an object, one size a
// batch.

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "datasets/transform_table.h"
#include "tasks/nms.h"

namespace espalier {

namespace {

constexpr int kC = Image::kChannels;

struct Mixup final : Transform {
  double alpha = 1.5, beta = 1.5;
  int until_epoch = 250;

  const char* name() const override { return "mixup"; }
  const char* help() const override {
    return "mixed with another picture of the data set, the share from a beta distribution; boxes of both";
  }
  void arguments(ArgumentVisitor& v) override {
    v.number("alpha", alpha, 1, 1000, "first parameter of the beta distribution");
    v.number("beta", beta, 1, 1000, "second parameter");
    v.integer("until_epoch", until_epoch, 0, 1'000'000, "epochs from this one on are not mixed");
  }
  bool random() const override { return true; }
  bool mixes() const override { return true; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    if (draw.epoch >= until_epoch) return;
    const double share = random_beta(alpha, beta, draw.random);
    const Partner partner = draw.partner(draw.random);
    mix(s, partner.picture(), share);
  }
};

struct RandomExpand final : Transform {
  double probability = 0.5, ratio = 4;
  int largest = 2048;
  FillArgument fill = {{124, 116, 104}};

  const char* name() const override { return "random_expand"; }
  const char* help() const override { return "laid somewhere on a larger canvas: objects become smaller"; }
  void arguments(ArgumentVisitor& v) override {
    v.number("probability", probability, 0, 1, "of being laid");
    v.number("ratio", ratio, 1, 16, "largest factor of both sides");
    v.integer("largest", largest, 1, kLargestSide,
              "longest side of a canvas in pixels: for a longer one the picture is made smaller first");
    fill.visit(v);
  }
  Size size_after(Size, double) const override { return {}; }
  bool random() const override { return true; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    if (!draw.random.flip(probability)) return;
    const double factor = draw.random.uniform(1, ratio);
    const double shrink = std::min(1.0, largest / (factor * std::max(s.width(), s.height())));
    const auto side = [&](int n) { return std::max(1, static_cast<int>(n * shrink)); };
    resize(s, side(s.width()), side(s.height()), Filter::kBox);
    const int width = static_cast<int>(s.width() * factor), height = static_cast<int>(s.height() * factor);
    const int x = draw.random.below(width - s.width() + 1), y = draw.random.below(height - s.height() + 1);
    place(s, width, height, x, y, fill.value());
  }
};

/// Liu et al., "SSD: single shot multibox detector", 2016, section 2.2: a part that overlaps an object by at
/// least a random threshold. Which thresholds are tried in which order is random, "as it is" among them.
struct RandomIouCrop final : Transform {
  std::vector<double> thresholds = {0, 0.1, 0.3, 0.5, 0.7, 0.9}, aspect = {0.5, 2}, scale = {0.3, 1};
  int attempts = 50;

  const char* name() const override { return "random_iou_crop"; }
  const char* help() const override {
    return "a random part that overlaps some object by at least a random threshold; none without objects";
  }
  void arguments(ArgumentVisitor& v) override {
    v.numbers("thresholds", thresholds, 0, 0, 1, "least intersection over union of part and object");
    v.numbers("aspect", aspect, 2, 0.01, 100, "least and largest width / height, as shares of the picture's");
    v.numbers("scale", scale, 2, 0.01, 1, "least and largest side, as share of the picture's");
    v.integer("attempts", attempts, 1, 10000, "for each threshold");
  }
  void prepare() override {
    check_range("aspect", aspect);
    check_range("scale", scale);
  }
  Size size_after(Size, double) const override { return {}; }
  bool random() const override { return true; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    if (s.boxes.empty()) return;
    std::vector<std::optional<double>> order(thresholds.begin(), thresholds.end());
    order.push_back(std::nullopt);
    shuffle(order, draw.random);
    for (const std::optional<double>& threshold : order) {
      if (!threshold) return;
      for (int attempt = 0; attempt < attempts; ++attempt) {
        const Box part = draw_part({s.width(), s.height()}, draw.random);
        if (part.width < 1 || part.height < 1 || !covers(s.boxes, part, *threshold)) continue;
        if (boxes_within(s.boxes, part).empty()) continue;
        crop(s, part);
        return;
      }
    }
  }
  Box draw_part(const Size& picture, Random& random) const {
    const double share = random.uniform(scale[0], scale[1]), square = share * share;
    // Within these bounds neither side is longer than the picture's.
    const double ratio =
        random.uniform(std::max(aspect[0], square), std::max(std::min(aspect[1], 1 / square), square));
    Box part;
    part.width = std::min(picture.width, static_cast<int>(picture.width * share * std::sqrt(ratio)));
    part.height = std::min(picture.height, static_cast<int>(picture.height * share / std::sqrt(ratio)));
    part.x = random.below(picture.width - part.width + 1);
    part.y = random.below(picture.height - part.height + 1);
    return part;
  }
  static bool covers(const std::vector<ObjectBox>& boxes, const Box& part, double threshold) {
    const ObjectBox frame{static_cast<float>(part.x), static_cast<float>(part.y),
                          static_cast<float>(part.x + part.width), static_cast<float>(part.y + part.height)};
    return std::any_of(boxes.begin(), boxes.end(),
                       [&](const ObjectBox& box) { return overlap_of(box, frame) >= threshold; });
  }
};

struct MultiScaleResize final : Transform {
  std::vector<int> sizes = {320, 352, 384, 416, 448, 480, 512, 544, 576, 608};
  RandomFilterArgument filter = {"random"};

  const char* name() const override { return "multi_scale_resize"; }
  const char* help() const override {
    return "stretched to size x size, whatever the aspect ratio; each batch draws one of the sizes";
  }
  void arguments(ArgumentVisitor& v) override {
    v.integers("sizes", sizes, 1, kLargestSide, "sides of the result in pixels");
    filter.visit(v);
  }
  Size size_after(Size, double batch) const override { return {chosen(batch), chosen(batch)}; }
  bool random() const override { return true; }
  std::vector<int> batch_sizes() const override { return sizes; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    const int size = chosen(draw.batch);
    resize(s, size, size, filter.draw(draw.random));
  }
  int chosen(double batch) const {
    return sizes[static_cast<size_t>(batch * static_cast<double>(sizes.size()))];
  }
};

/// Gamma(shape, 1), shape >= 1.
double random_gamma(double shape, Random& random) {
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), root = 1 + c * x;
    const double v = root * root * root;
    if (root <= 0) continue;
    if (std::log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

}  // namespace

double random_beta(double a, double b, Random& random) {
  const double x = random_gamma(a, random), y = random_gamma(b, random);
  return x / (x + y);
}

void mix(LabelledImage& sample, const LabelledImage& partner, double share) {
  ESPALIER_CHECK(sample.mask.empty() && partner.mask.empty(),
                 "mixup: masks cannot be mixed; take it out of the transforms for segmentation");
  if (sample.frame) sample.settle();
  const Image own = std::move(sample.image);
  const Image &a = sample.lent ? *sample.lent : own, &b = partner.image;
  sample.lent = nullptr;
  Image& out = sample.image = Image::unset(std::max(a.width, b.width), std::max(a.height, b.height));
  const float of_a = static_cast<float>(share), of_b = static_cast<float>(1 - share);
  for (int y = 0; y < out.height; ++y) {
    const int wide_a = y < a.height ? a.width * kC : 0, wide_b = y < b.height ? b.width * kC : 0;
    const int both = std::min(wide_a, wide_b);
    const uint8_t *row_a = wide_a ? a.at(0, y) : nullptr, *row_b = wide_b ? b.at(0, y) : nullptr;
    uint8_t* to = out.at(0, y);
    for (int i = 0; i < both; ++i) to[i] = static_cast<uint8_t>(of_a * row_a[i] + of_b * row_b[i] + 0.5f);
    for (int i = both; i < wide_a; ++i) to[i] = static_cast<uint8_t>(of_a * row_a[i] + 0.5f);
    for (int i = both; i < wide_b; ++i) to[i] = static_cast<uint8_t>(of_b * row_b[i] + 0.5f);
    std::fill(to + std::max(wide_a, wide_b), to + static_cast<size_t>(out.width) * kC, uint8_t{0});
  }
  for (ObjectBox& box : sample.boxes) box.score *= of_a;
  for (ObjectBox box : partner.boxes) {
    box.score *= of_b;
    sample.boxes.push_back(box);
  }
}

std::vector<TransformEntry> detection_transforms() {
  return {transform_entry<Mixup>(), transform_entry<RandomExpand>(), transform_entry<RandomIouCrop>(),
          transform_entry<MultiScaleResize>()};
}

}  // namespace espalier
