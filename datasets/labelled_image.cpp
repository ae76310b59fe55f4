#include "datasets/labelled_image.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "base/error.h"

namespace espalier {

namespace {

constexpr int kC = Image::kChannels;

/// Every box's corners mapped; a negative scale exchanges them.
void map_boxes(std::vector<ObjectBox>& boxes, const PixelMap& map) {
  const auto at = [](double scale, double offset, float x) { return static_cast<float>(scale * x + offset); };
  for (ObjectBox& box : boxes) {
    const float x0 = at(map.scale_x, map.offset_x, box.x0), x1 = at(map.scale_x, map.offset_x, box.x1);
    const float y0 = at(map.scale_y, map.offset_y, box.y0), y1 = at(map.scale_y, map.offset_y, box.y1);
    box.x0 = std::min(x0, x1), box.x1 = std::max(x0, x1);
    box.y0 = std::min(y0, y1), box.y1 = std::max(y0, y1);
  }
}

void follow(LabelledImage& sample, const PixelMap& step) {
  map_boxes(sample.boxes, step);
  sample.to_network = compose(sample.to_network, step);
}

/// A mask of width x height whose pixel (x, y) is source(x, y).
template <class Source>
Mask make_mask(int width, int height, const Source& source) {
  Mask out{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height)};
  uint8_t* to = out.classes.data();
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) *to++ = source(x, y);
  return out;
}

uint8_t class_at(const Mask& mask, int x, int y) {
  return mask.classes[static_cast<size_t>(y) * mask.width + x];
}

bool is_whole(const LabelledImage& sample, const Box& part) {
  return part == Box{0, 0, sample.width(), sample.height()};
}

/// A part of what the frame shows, in the pixels of `image`.
Box within_image(const LabelledImage& sample, const Box& part) {
  const Box shown = sample.part();
  return {shown.x + part.x, shown.y + part.y, part.width, part.height};
}

/// Boxes, mask and map of `part` stretched to width x height.
void follow_part(LabelledImage& sample, const Box& part, int width, int height) {
  if (!sample.mask.empty()) {
    const std::vector<int> xs = nearest_positions(part.width, width),
                           ys = nearest_positions(part.height, height);
    sample.mask = make_mask(
        width, height, [&](int x, int y) { return class_at(sample.mask, part.x + xs[x], part.y + ys[y]); });
  }
  if (!is_whole(sample, part)) sample.boxes = boxes_within(sample.boxes, part);
  const double sx = static_cast<double>(width) / part.width, sy = static_cast<double>(height) / part.height;
  follow(sample, {sx, sy, -part.x * sx, -part.y * sy});
}

/// A turn in the frame of a picture of width x height. The y axis points down, so a positive angle turns
/// counter-clockwise.
struct Turn {
  double cosine, sine, cx, cy;
  Turn(double degrees, double cx, double cy)
      : cosine(std::cos(degrees * std::numbers::pi / 180)),
        sine(std::sin(degrees * std::numbers::pi / 180)),
        cx(cx),
        cy(cy) {}
  /// Where the point (x, y) of the result comes from.
  std::pair<double, double> source(double x, double y) const {
    const double dx = x - cx, dy = y - cy;
    return {cosine * dx - sine * dy + cx, sine * dx + cosine * dy + cy};
  }
  /// Where the point (u, v) goes.
  std::pair<double, double> target(double u, double v) const {
    const double du = u - cx, dv = v - cy;
    return {cosine * du + sine * dv + cx, -sine * du + cosine * dv + cy};
  }
};

using Points = std::vector<std::pair<double, double>>;

/// The part of a convex polygon where inside(point) is not negative; inside is linear (Sutherland and
/// Hodgman, "Reentrant polygon clipping", 1974).
template <class Inside>
Points clipped(const Points& polygon, const Inside& inside) {
  Points out;
  for (size_t i = 0; i < polygon.size(); ++i) {
    const auto &from = polygon[i], &to = polygon[(i + 1) % polygon.size()];
    const double a = inside(from), b = inside(to);
    if (a >= 0) out.push_back(from);
    if ((a < 0) == (b < 0)) continue;
    const double share = a / (a - b);
    out.emplace_back(from.first + share * (to.first - from.first),
                     from.second + share * (to.second - from.second));
  }
  return out;
}

/// The upright box around what is visible of a turned one; none when its centre is not.
std::vector<ObjectBox> turned(const std::vector<ObjectBox>& boxes, const Turn& turn, double width,
                              double height) {
  std::vector<ObjectBox> kept;
  for (ObjectBox box : boxes) {
    const auto [x, y] = turn.target((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2);
    if (x < 0 || x >= width || y < 0 || y >= height) continue;
    Points corners = {turn.target(box.x0, box.y0), turn.target(box.x1, box.y0), turn.target(box.x1, box.y1),
                      turn.target(box.x0, box.y1)};
    corners = clipped(corners, [](const auto& p) { return p.first; });
    corners = clipped(corners, [&](const auto& p) { return width - p.first; });
    corners = clipped(corners, [](const auto& p) { return p.second; });
    corners = clipped(corners, [&](const auto& p) { return height - p.second; });
    box.x0 = box.y0 = std::numeric_limits<float>::max();
    box.x1 = box.y1 = 0;
    for (const auto& [u, v] : corners) {
      box.x0 = std::min(box.x0, static_cast<float>(u)), box.x1 = std::max(box.x1, static_cast<float>(u));
      box.y0 = std::min(box.y0, static_cast<float>(v)), box.y1 = std::max(box.y1, static_cast<float>(v));
    }
    // A crossing with the frame may be rounded beyond it.
    box.x0 = std::max(box.x0, 0.0f), box.x1 = std::min(box.x1, static_cast<float>(width));
    box.y0 = std::max(box.y0, 0.0f), box.y1 = std::min(box.y1, static_cast<float>(height));
    if (box.x0 < box.x1 && box.y0 < box.y1) kept.push_back(box);
  }
  return kept;
}

}  // namespace

PixelMap compose(const PixelMap& a, const PixelMap& b) {
  return {a.scale_x * b.scale_x, a.scale_y * b.scale_y, a.offset_x * b.scale_x + b.offset_x,
          a.offset_y * b.scale_y + b.offset_y};
}

std::vector<ObjectBox> boxes_within(const std::vector<ObjectBox>& boxes, const Box& part) {
  const float left = static_cast<float>(part.x), right = static_cast<float>(part.x + part.width),
              top = static_cast<float>(part.y), bottom = static_cast<float>(part.y + part.height);
  std::vector<ObjectBox> kept;
  for (ObjectBox box : boxes) {
    const float x = (box.x0 + box.x1) / 2, y = (box.y0 + box.y1) / 2;
    if (!(x >= left && x < right && y >= top && y < bottom)) continue;
    box.x0 = std::max(box.x0, left), box.x1 = std::min(box.x1, right);
    box.y0 = std::max(box.y0, top), box.y1 = std::min(box.y1, bottom);
    kept.push_back(box);
  }
  return kept;
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

LabelledImage LabelledImage::lend() const {
  return {.label = label,
          .boxes = boxes,
          .mask = mask,
          .to_network = to_network,
          .frame = frame,
          .lent = &source()};
}

void LabelledImage::settle() {
  if (frame)
    image = crop(source(), frame->part, frame->outside);
  else if (lent)
    image = *lent;
  frame.reset();
  lent = nullptr;
}

void flip_horizontal(LabelledImage& sample) {
  sample.settle();
  flip_horizontal(sample.image);
  Mask& mask = sample.mask;
  for (auto row = mask.classes.begin(); row != mask.classes.end(); row += mask.width)
    std::reverse(row, row + mask.width);
  follow(sample, {-1, 1, static_cast<double>(sample.image.width), 0});
}

void flip_vertical(LabelledImage& sample) {
  sample.settle();
  flip_vertical(sample.image);
  Mask& mask = sample.mask;
  const auto row = [&](int y) { return mask.classes.begin() + static_cast<int64_t>(y) * mask.width; };
  for (int top = 0, bottom = mask.height - 1; top < bottom; ++top, --bottom)
    std::swap_ranges(row(top), row(top + 1), row(bottom));
  follow(sample, {1, -1, 0, static_cast<double>(sample.image.height)});
}

void rotate(Image& image, double degrees, const Fill& fill) {
  const Image in = image;
  const uint8_t outside[kC] = {fill.red, fill.green, fill.blue};
  const Turn turn(degrees, (in.width - 1) * 0.5, (in.height - 1) * 0.5);
  const auto pixel = [&](int x, int y) {
    return x >= 0 && x < in.width && y >= 0 && y < in.height ? in.at(x, y) : outside;
  };
  for (int y = 0; y < in.height; ++y)
    for (int x = 0; x < in.width; ++x) {
      const auto [u, v] = turn.source(x, y);
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

void rotate(LabelledImage& sample, double degrees, const Fill& fill) {
  sample.settle();
  rotate(sample.image, degrees, fill);
  const int width = sample.image.width, height = sample.image.height;
  if (!sample.mask.empty()) {
    const Turn turn(degrees, (width - 1) * 0.5, (height - 1) * 0.5);
    sample.mask = make_mask(width, height, [&](int x, int y) {
      const auto [u, v] = turn.source(x, y);
      const long from_x = std::lround(u), from_y = std::lround(v);
      const bool inside = from_x >= 0 && from_x < width && from_y >= 0 && from_y < height;
      return inside ? class_at(sample.mask, static_cast<int>(from_x), static_cast<int>(from_y))
                    : Mask::kIgnored;
    });
  }
  const Turn turn(degrees, width * 0.5, height * 0.5);
  sample.boxes = turned(sample.boxes, turn, width, height);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  sample.to_network = {kNone, kNone, kNone, kNone};
}

void crop(LabelledImage& sample, const Box& part) {
  check_part(sample.width(), sample.height(), part);
  if (is_whole(sample, part)) return;
  follow_part(sample, part, part.width, part.height);
  sample.frame = {within_image(sample, part), sample.outside()};
}

void resize(LabelledImage& sample, int width, int height, Filter filter) {
  resize(sample, {0, 0, sample.width(), sample.height()}, width, height, filter);
}

void resize(LabelledImage& sample, const Box& part, int width, int height, Filter filter) {
  if (is_whole(sample, part) && width == part.width && height == part.height) return;
  check_part(sample.width(), sample.height(), part);
  follow_part(sample, part, width, height);
  sample.image = resize(sample.source(), within_image(sample, part), width, height, filter, sample.outside());
  sample.frame.reset();
  sample.lent = nullptr;
}

void place(LabelledImage& sample, int width, int height, int x, int y, const Fill& fill) {
  const int in_width = sample.width(), in_height = sample.height();
  ESPALIER_CHECK(x >= 0 && y >= 0 && in_width <= width - x && in_height <= height - y, "a picture of ",
                 in_width, "x", in_height, " at (", x, ", ", y, ") does not fit onto ", width, "x", height,
                 "; make it smaller first");
  if (in_width == width && in_height == height) return;
  if (!sample.mask.empty())
    sample.mask = make_mask(width, height, [&](int to_x, int to_y) {
      const int u = to_x - x, v = to_y - y;
      const bool inside = u >= 0 && u < in_width && v >= 0 && v < in_height;
      return inside ? class_at(sample.mask, u, v) : Mask::kIgnored;
    });
  if (sample.frame) sample.settle();  // so that what surrounds the picture is all of one colour
  sample.frame = {{-x, -y, width, height}, fill};
  follow(sample, {1, 1, static_cast<double>(x), static_cast<double>(y)});
}

}  // namespace espalier
