#include "datasets/transforms.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "datasets/transform_table.h"

namespace espalier {

namespace {

struct RandomResizedCrop final : Transform {
  int size = 224;
  double lower_scale = 0.08;
  std::vector<double> ratio = {0.75, 4.0 / 3};
  FilterArgument filter;

  const char* name() const override { return "random_resized_crop"; }
  const char* help() const override {
    return "a random part of the picture, stretched to size x size; area and aspect ratio are random";
  }
  void arguments(ArgumentVisitor& v) override {
    v.integer("size", size, 1, kLargestSide, "side of the result in pixels");
    v.number("lower_scale", lower_scale, 0.001, 1, "least share of the picture's area");
    v.numbers("ratio", ratio, 2, 0.01, 100, "least and largest width / height of the part");
    filter.visit(v);
  }
  void prepare() override { check_range("ratio", ratio); }
  Size size_after(Size, double) const override { return {size, size}; }
  bool random() const override { return true; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    const Box box = random_crop_box({s.width(), s.height()}, lower_scale, ratio[0], ratio[1], draw.random);
    resize(s, box, size, size, filter.value());
  }
};

struct RandomFlip : Transform {
  double probability = 0.5;
  void arguments(ArgumentVisitor& v) override {
    v.number("probability", probability, 0, 1, "of being mirrored");
  }
  bool random() const override { return true; }
};

struct RandomHorizontalFlip final : RandomFlip {
  const char* name() const override { return "random_horizontal_flip"; }
  const char* help() const override { return "left and right exchanged"; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    if (draw.random.flip(probability)) flip_horizontal(s);
  }
};

struct RandomVerticalFlip final : RandomFlip {
  const char* name() const override { return "random_vertical_flip"; }
  const char* help() const override { return "top and bottom exchanged"; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    if (draw.random.flip(probability)) flip_vertical(s);
  }
};

struct ResizeShort final : Transform {
  int size = 256;
  FilterArgument filter;

  const char* name() const override { return "resize_short"; }
  const char* help() const override { return "the shorter side becomes size, the aspect ratio stays"; }
  void arguments(ArgumentVisitor& v) override {
    v.integer("size", size, 1, kLargestSide, "the shorter side of the result in pixels");
    filter.visit(v);
  }
  Size size_after(Size before, double) const override {
    return before.known() ? scaled(before.width, before.height) : Size{};
  }
  void apply(LabelledImage& s, const Draw&) const override {
    const double factor = static_cast<double>(size) / std::min(s.width(), s.height());
    ESPALIER_CHECK(factor * s.width() * factor * s.height() <= kMaxPixels, "resize_short: a picture of ",
                   s.width(), "x", s.height(), " pixels would have more than ", kMaxPixels / 1'000'000,
                   " million, ", size, " on its shorter side; remove it, it shows a line");
    const Size to = scaled(s.width(), s.height());
    resize(s, to.width, to.height, filter.value());
  }
  Size scaled(int width, int height) const {
    const double factor = static_cast<double>(size) / std::min(width, height);
    const auto side = [&](int n) { return std::max(1, static_cast<int>(std::lround(n * factor))); };
    return {side(width), side(height)};
  }
};

struct Resize final : Transform {
  int width = 224, height = 224;
  RandomFilterArgument filter;

  const char* name() const override { return "resize"; }
  const char* help() const override { return "stretched to width x height, whatever the aspect ratio"; }
  void arguments(ArgumentVisitor& v) override {
    v.integer("width", width, 1, kLargestSide, "of the result in pixels");
    v.integer("height", height, 1, kLargestSide, "of the result in pixels");
    filter.visit(v);
  }
  Size size_after(Size, double) const override { return {width, height}; }
  bool random() const override { return filter.random(); }
  void apply(LabelledImage& s, const Draw& draw) const override {
    resize(s, width, height, filter.draw(draw.random));
  }
};

struct CenterCrop final : Transform {
  int size = 224;

  const char* name() const override { return "center_crop"; }
  const char* help() const override { return "the central size x size pixels"; }
  void arguments(ArgumentVisitor& v) override {
    v.integer("size", size, 1, kLargestSide, "side of the result in pixels");
  }
  Size size_after(Size, double) const override { return {size, size}; }
  void apply(LabelledImage& s, const Draw&) const override {
    ESPALIER_CHECK(size <= s.width() && size <= s.height(), "center_crop: ", size, "x", size,
                   " does not fit into ", s.width(), "x", s.height(), " pixels; put resize_short before it");
    if (s.width() == size && s.height() == size) return;
    crop(s, {(s.width() - size) / 2, (s.height() - size) / 2, size, size});
  }
};

struct ColorDistort final : ColorTransform {
  double brightness = 0.9, contrast = 0.9, saturation = 0.9, hue = 18, probability = 0.5;

  const char* name() const override { return "color_distort"; }
  const char* help() const override {
    return "brightness, contrast, saturation and hue, each with its probability, in random order";
  }
  void arguments(ArgumentVisitor& v) override {
    v.number("brightness", brightness, 0, 1, "factor in 1 - value .. 1 + value");
    v.number("contrast", contrast, 0, 1, "factor in 1 - value .. 1 + value");
    v.number("saturation", saturation, 0, 1, "factor in 1 - value .. 1 + value");
    v.number("hue", hue, 0, 180, "turn in degrees, -value .. value");
    v.number("probability", probability, 0, 1, "of each of the four");
  }
  bool random() const override { return true; }
  void change(Image& image, Random& random) const override {
    std::string order = "bcsh";
    shuffle(order, random);
    // All numbers are drawn whether used or not: what one of the four does never shifts what the others draw.
    ColorChange chosen;
    const auto choose = [&](double& value, double middle, double range) {
      const double drawn = random.uniform(middle - range, middle + range);
      if (random.flip(probability)) value = drawn;
    };
    choose(chosen.brightness, 1, brightness);
    choose(chosen.contrast, 1, contrast);
    choose(chosen.saturation, 1, saturation);
    choose(chosen.hue_degrees, 0, hue);
    change_color(image, chosen, order);
  }
};

struct RandomRotate final : Transform {
  double degrees = 30, probability = 0.5;
  FillArgument fill = {{124, 116, 104}};

  const char* name() const override { return "random_rotate"; }
  const char* help() const override { return "turned about its centre within its own frame"; }
  void arguments(ArgumentVisitor& v) override {
    v.number("degrees", degrees, 0, 180, "largest angle, to either side");
    v.number("probability", probability, 0, 1, "of being turned");
    fill.visit(v);
  }
  bool random() const override { return true; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    const double angle = draw.random.uniform(-degrees, degrees);
    if (draw.random.flip(probability)) rotate(s, angle, fill.value());
  }
};

}  // namespace

Box random_crop_box(Size picture, double lower_scale, double ratio_low, double ratio_high, Random& random) {
  const double area = static_cast<double>(picture.width) * picture.height;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double part = area * random.uniform(lower_scale, 1.0);
    const double ratio = std::exp(random.uniform(std::log(ratio_low), std::log(ratio_high)));
    const int width = static_cast<int>(std::lround(std::sqrt(part * ratio))),
              height = static_cast<int>(std::lround(std::sqrt(part / ratio)));
    if (width < 1 || height < 1 || width > picture.width || height > picture.height) continue;
    const int x = random.below(picture.width - width + 1), y = random.below(picture.height - height + 1);
    return {x, y, width, height};
  }
  const double ratio = static_cast<double>(picture.width) / picture.height;
  Box box{0, 0, picture.width, picture.height};
  if (ratio < ratio_low)
    box.height = std::clamp(static_cast<int>(std::lround(picture.width / ratio_low)), 1, picture.height);
  else if (ratio > ratio_high)
    box.width = std::clamp(static_cast<int>(std::lround(picture.height * ratio_high)), 1, picture.width);
  box.x = (picture.width - box.width) / 2;
  box.y = (picture.height - box.height) / 2;
  return box;
}

void FilterArgument::visit(ArgumentVisitor& v) {
  v.choice("filter", filter, {"nearest", "box", "bilinear", "bicubic", "lanczos"}, "how pixels are weighted");
}

Filter FilterArgument::value() const {
  for (const Filter f : {Filter::kNearest, Filter::kBox, Filter::kBilinear, Filter::kBicubic})
    if (filter == espalier::name(f)) return f;
  return Filter::kLanczos;
}

void RandomFilterArgument::visit(ArgumentVisitor& v) {
  v.choice("filter", filter, {"nearest", "box", "bilinear", "bicubic", "lanczos", "random"},
           "how pixels are weighted; random: one of them for each picture");
}

Filter RandomFilterArgument::draw(Random& random) const {
  if (!this->random()) return FilterArgument{filter}.value();
  constexpr Filter all[] = {Filter::kNearest, Filter::kBilinear, Filter::kBicubic, Filter::kBox,
                            Filter::kLanczos};
  return all[random.below(5)];
}

void FillArgument::visit(ArgumentVisitor& v) {
  v.numbers("fill", fill, 3, 0, 255, "red, green, blue of what no picture covers");
}

Fill FillArgument::value() const {
  const auto pixel = [&](int c) { return static_cast<uint8_t>(std::lround(fill[c])); };
  return {pixel(0), pixel(1), pixel(2)};
}

void check_range(const char* key, const std::vector<double>& range) {
  ESPALIER_CHECK(range[0] <= range[1], key, " is [", range[0], ", ", range[1],
                 "]; the first must not exceed the second");
}

std::vector<TransformEntry> common_transforms() {
  return {
      transform_entry<RandomResizedCrop>(),
      transform_entry<RandomHorizontalFlip>(),
      transform_entry<RandomVerticalFlip>(),
      transform_entry<ColorDistort>(),
      transform_entry<RandomRotate>(),
      transform_entry<ResizeShort>(),
      transform_entry<Resize>(),
      transform_entry<CenterCrop>(),
  };
}

}  // namespace espalier
