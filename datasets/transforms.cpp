#include "datasets/transforms.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <numbers>

#include "base/error.h"
#include "datasets/resample.h"
#include "datasets/transform_table.h"

namespace espalier {

namespace {

constexpr int kC = Image::kChannels;
constexpr double kLuma[3] = {0.299, 0.587, 0.114};  // ITU-R BT.601

struct FilterArgument {
  std::string filter = "bilinear";
  void visit(ArgumentVisitor& v) {
    v.choice("filter", filter, {"nearest", "box", "bilinear", "bicubic", "lanczos"},
             "how pixels are weighted");
  }
  Filter value() const {
    for (const Filter f : {Filter::kNearest, Filter::kBox, Filter::kBilinear, Filter::kBicubic})
      if (filter == espalier::name(f)) return f;
    return Filter::kLanczos;
  }
};

constexpr int kLargestSide = 16384;

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
  void prepare() override {
    ESPALIER_CHECK(ratio[0] <= ratio[1], "ratio is [", ratio[0], ", ", ratio[1],
                   "]; the first must not exceed the second");
  }
  Size size_after(Size) const override { return {size, size}; }
  bool random() const override { return true; }
  void apply(LabelledImage& s, Random& random) const override {
    const Box box = random_crop_box({s.image.width, s.image.height}, lower_scale, ratio[0], ratio[1], random);
    s.image = resize(s.image, box, size, size, filter.value());
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
  void apply(LabelledImage& s, Random& random) const override {
    if (random.flip(probability)) flip_horizontal(s.image);
  }
};

struct RandomVerticalFlip final : RandomFlip {
  const char* name() const override { return "random_vertical_flip"; }
  const char* help() const override { return "top and bottom exchanged"; }
  void apply(LabelledImage& s, Random& random) const override {
    if (random.flip(probability)) flip_vertical(s.image);
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
  Size size_after(Size before) const override {
    return before.known() ? scaled(before.width, before.height) : Size{};
  }
  void apply(LabelledImage& s, Random&) const override {
    const Size to = scaled(s.image.width, s.image.height);
    s.image = resize(s.image, to.width, to.height, filter.value());
  }
  Size scaled(int width, int height) const {
    const double factor = static_cast<double>(size) / std::min(width, height);
    const auto side = [&](int n) { return std::max(1, static_cast<int>(std::lround(n * factor))); };
    return {side(width), side(height)};
  }
};

struct Resize final : Transform {
  int width = 224, height = 224;
  FilterArgument filter;

  const char* name() const override { return "resize"; }
  const char* help() const override { return "stretched to width x height, whatever the aspect ratio"; }
  void arguments(ArgumentVisitor& v) override {
    v.integer("width", width, 1, kLargestSide, "of the result in pixels");
    v.integer("height", height, 1, kLargestSide, "of the result in pixels");
    filter.visit(v);
  }
  Size size_after(Size) const override { return {width, height}; }
  void apply(LabelledImage& s, Random&) const override {
    s.image = espalier::resize(s.image, width, height, filter.value());
  }
};

struct CenterCrop final : Transform {
  int size = 224;

  const char* name() const override { return "center_crop"; }
  const char* help() const override { return "the central size x size pixels"; }
  void arguments(ArgumentVisitor& v) override {
    v.integer("size", size, 1, kLargestSide, "side of the result in pixels");
  }
  Size size_after(Size) const override { return {size, size}; }
  void apply(LabelledImage& s, Random&) const override {
    ESPALIER_CHECK(size <= s.image.width && size <= s.image.height, "center_crop: ", size, "x", size,
                   " does not fit into ", s.image.width, "x", s.image.height,
                   " pixels; put resize_short before it");
    if (s.image.width == size && s.image.height == size) return;
    s.image = crop(s.image, {(s.image.width - size) / 2, (s.image.height - size) / 2, size, size});
  }
};

struct ColorDistort final : Transform {
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
  void apply(LabelledImage& s, Random& random) const override {
    std::string order = "bcsh";
    shuffle(order, random);
    // All numbers are drawn whether used or not: what one of the four does never shifts what the others draw.
    ColorChange change;
    const auto draw = [&](double& value, double middle, double range) {
      const double drawn = random.uniform(middle - range, middle + range);
      if (random.flip(probability)) value = drawn;
    };
    draw(change.brightness, 1, brightness);
    draw(change.contrast, 1, contrast);
    draw(change.saturation, 1, saturation);
    draw(change.hue_degrees, 0, hue);
    change_color(s.image, change, order);
  }
};

struct RandomRotate final : Transform {
  double degrees = 30, probability = 0.5;
  std::vector<double> fill = {124, 116, 104};

  const char* name() const override { return "random_rotate"; }
  const char* help() const override { return "turned about its centre within its own frame"; }
  void arguments(ArgumentVisitor& v) override {
    v.number("degrees", degrees, 0, 180, "largest angle, to either side");
    v.number("probability", probability, 0, 1, "of being turned");
    v.numbers("fill", fill, 3, 0, 255, "red, green, blue of what comes from outside");
  }
  bool random() const override { return true; }
  void apply(LabelledImage& s, Random& random) const override {
    const double angle = random.uniform(-degrees, degrees);
    if (!random.flip(probability)) return;
    const uint8_t color[3] = {static_cast<uint8_t>(fill[0]), static_cast<uint8_t>(fill[1]),
                              static_cast<uint8_t>(fill[2])};
    rotate(s.image, angle, color);
  }
};

/// A 3x3 matrix and a shift, composed in double: v -> matrix * v + shift.
struct ColorMap {
  std::array<std::array<double, 3>, 3> matrix{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  std::array<double, 3> shift{};

  std::array<double, 3> operator()(const std::array<double, 3>& v) const {
    std::array<double, 3> out = shift;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) out[i] += matrix[i][j] * v[j];
    return out;
  }
  /// First this, then `next`.
  ColorMap then(const ColorMap& next) const {
    ColorMap both;
    both.shift = next(shift);
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) {
        both.matrix[i][j] = 0;
        for (int k = 0; k < 3; ++k) both.matrix[i][j] += next.matrix[i][k] * matrix[k][j];
      }
    return both;
  }
};

double luma(const std::array<double, 3>& v) { return kLuma[0] * v[0] + kLuma[1] * v[1] + kLuma[2] * v[2]; }

ColorMap scale_map(double factor) {
  ColorMap map;
  for (int i = 0; i < 3; ++i) map.matrix[i][i] = factor;
  return map;
}

ColorMap saturation_map(double factor) {
  ColorMap map = scale_map(factor);
  for (auto& row : map.matrix)
    for (int j = 0; j < 3; ++j) row[j] += (1 - factor) * kLuma[j];
  return map;
}

/// A turn of the plane of I and Q, the chroma axes of NTSC, about the grey axis. `to` and `from` are inverse
/// to 1e-15.
ColorMap hue_map(double degrees) {
  constexpr double i[3] = {0.595716, -0.274453, -0.321263}, q[3] = {0.211456, -0.522591, 0.311135};
  const double cosine = std::cos(degrees * std::numbers::pi / 180),
               sine = std::sin(degrees * std::numbers::pi / 180);
  ColorMap to;
  to.matrix = {{{kLuma[0], kLuma[1], kLuma[2]}, {i[0], i[1], i[2]}, {q[0], q[1], q[2]}}};
  ColorMap turn;
  turn.matrix = {{{1, 0, 0}, {0, cosine, -sine}, {0, sine, cosine}}};
  ColorMap from;
  const auto& m = to.matrix;
  const auto minor = [&](int r, int c) {
    const int r1 = (r + 1) % 3, r2 = (r + 2) % 3, c1 = (c + 1) % 3, c2 = (c + 2) % 3;
    return m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1];
  };
  const double determinant = m[0][0] * minor(0, 0) + m[0][1] * minor(0, 1) + m[0][2] * minor(0, 2);
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 3; ++c) from.matrix[c][r] = minor(r, c) / determinant;
  return to.then(turn).then(from);
}

std::array<double, 3> mean_color(const Image& image) {
  std::array<uint64_t, 3> sum{};
  const size_t count = static_cast<size_t>(image.width) * image.height;
  const uint8_t* p = image.pixels.data();
  for (size_t i = 0; i < count; ++i, p += kC)
    for (int c = 0; c < 3; ++c) sum[c] += p[c];
  std::array<double, 3> mean;
  for (int c = 0; c < 3; ++c) mean[c] = static_cast<double>(sum[c]) / static_cast<double>(count);
  return mean;
}

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

void change_color(Image& image, const ColorChange& change, const std::string& order) {
  // The four are affine and nothing is rounded between them, so they are one map; the mean that contrast
  // needs is the map of the picture's mean.
  const std::array<double, 3> mean = mean_color(image);
  ColorMap map;
  for (const char step : order) {
    if (step == 'b' && change.brightness != 1) map = map.then(scale_map(change.brightness));
    if (step == 's' && change.saturation != 1) map = map.then(saturation_map(change.saturation));
    if (step == 'h' && change.hue_degrees != 0) map = map.then(hue_map(change.hue_degrees));
    if (step == 'c' && change.contrast != 1) {
      ColorMap contrast = scale_map(change.contrast);
      contrast.shift.fill((1 - change.contrast) * luma(map(mean)));
      map = map.then(contrast);
    }
  }
  float m[3][3], shift[3];
  for (int i = 0; i < 3; ++i) {
    shift[i] = static_cast<float>(map.shift[i]) + 0.5f;
    for (int j = 0; j < 3; ++j) m[i][j] = static_cast<float>(map.matrix[i][j]);
  }
  uint8_t* p = image.pixels.data();
  const size_t count = static_cast<size_t>(image.width) * image.height;
  for (size_t i = 0; i < count; ++i, p += kC) {
    const float r = p[0], g = p[1], b = p[2];
    for (int c = 0; c < 3; ++c) {
      const float v = m[c][0] * r + m[c][1] * g + m[c][2] * b + shift[c];
      p[c] = static_cast<uint8_t>(std::clamp(v, 0.0f, 255.0f));
    }
  }
}

void flip_horizontal(Image& image) {
  for (int y = 0; y < image.height; ++y) {
    uint8_t *left = image.at(0, y), *right = image.at(image.width - 1, y);
    for (; left < right; left += kC, right -= kC) std::swap_ranges(left, left + kC, right);
  }
}

void flip_vertical(Image& image) {
  const size_t row = static_cast<size_t>(image.width) * kC;
  for (int top = 0, bottom = image.height - 1; top < bottom; ++top, --bottom)
    std::swap_ranges(image.at(0, top), image.at(0, top) + row, image.at(0, bottom));
}

void rotate(Image& image, double degrees, const uint8_t (&fill)[3]) {
  const Image in = image;
  const double angle = degrees * std::numbers::pi / 180, cosine = std::cos(angle), sine = std::sin(angle);
  const double cx = (in.width - 1) * 0.5, cy = (in.height - 1) * 0.5;
  const auto pixel = [&](int x, int y) {
    return x >= 0 && x < in.width && y >= 0 && y < in.height ? in.at(x, y) : fill;
  };
  for (int y = 0; y < in.height; ++y)
    for (int x = 0; x < in.width; ++x) {
      // Where the result's pixel comes from; the y axis points down, so this turns counter-clockwise.
      const double dx = x - cx, dy = y - cy;
      const double u = cosine * dx - sine * dy + cx, v = sine * dx + cosine * dy + cy;
      const int u0 = static_cast<int>(std::floor(u)), v0 = static_cast<int>(std::floor(v));
      const float fu = static_cast<float>(u - u0), fv = static_cast<float>(v - v0);
      const uint8_t *a = pixel(u0, v0), *b = pixel(u0 + 1, v0), *c = pixel(u0, v0 + 1),
                    *d = pixel(u0 + 1, v0 + 1);
      uint8_t* out = image.at(x, y);
      for (int k = 0; k < kC; ++k) {
        const float upper = a[k] + fu * (b[k] - a[k]), lower = c[k] + fu * (d[k] - c[k]);
        out[k] = static_cast<uint8_t>(upper + fv * (lower - upper) + 0.5f);
      }
    }
}

const std::vector<TransformEntry>& transform_table() {
  const auto entry = []<class T>(T*) {
    return TransformEntry{T().name(), [] { return std::shared_ptr<Transform>(std::make_shared<T>()); }};
  };
  static const std::vector<TransformEntry> table = {
      entry(static_cast<RandomResizedCrop*>(nullptr)),
      entry(static_cast<RandomHorizontalFlip*>(nullptr)),
      entry(static_cast<RandomVerticalFlip*>(nullptr)),
      entry(static_cast<ColorDistort*>(nullptr)),
      entry(static_cast<RandomRotate*>(nullptr)),
      entry(static_cast<ResizeShort*>(nullptr)),
      entry(static_cast<Resize*>(nullptr)),
      entry(static_cast<CenterCrop*>(nullptr)),
  };
  return table;
}

}  // namespace espalier
