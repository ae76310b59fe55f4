#include "tasks/drawing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "tasks/font.h"

namespace espalier {

namespace {

/// An area of whole pixels, right and bottom excluded.
struct Area {
  int x0, y0, x1, y1;
};

void paint(Image& image, int x, int y, const Color& color) {
  if (x >= 0 && y >= 0 && x < image.width && y < image.height)
    std::copy(color.begin(), color.end(), image.at(x, y));
}

void fill(Image& image, Area a, const Color& color) {
  for (int y = std::max(0, a.y0); y < std::min(image.height, a.y1); ++y)
    for (int x = std::max(0, a.x0); x < std::min(image.width, a.x1); ++x) paint(image, x, y, color);
}

/// The four sides, `width` thick towards the inside.
void outline(Image& image, Area a, int width, const Color& color) {
  fill(image, {a.x0, a.y0, a.x1, a.y0 + width}, color);
  fill(image, {a.x0, a.y1 - width, a.x1, a.y1}, color);
  fill(image, {a.x0, a.y0, a.x0 + width, a.y1}, color);
  fill(image, {a.x1 - width, a.y0, a.x1, a.y1}, color);
}

void write(Image& image, int x, int y, const std::string& text, int scale, const Color& color) {
  for (const char c : text) {
    for (int v = 0; v < kFontHeight; ++v)
      for (int u = 0; u < kFontWidth; ++u)
        if (font_dot(c, u, v))
          fill(image, {x + u * scale, y + v * scale, x + (u + 1) * scale, y + (v + 1) * scale}, color);
    x += (kFontWidth + 1) * scale;
  }
}

/// Black or white, whichever can be read on it.
Color ink_on(const Color& c) {
  const bool bright = 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] > 140;
  return bright ? Color{0, 0, 0} : Color{255, 255, 255};
}

/// A plate with text, above the box where there is room, else inside it; never past the picture's sides.
void write_tag(Image& image, Area box, const std::string& text, int scale, const Color& color) {
  const int width = static_cast<int>(text.size()) * (kFontWidth + 1) * scale + scale,
            height = (kFontHeight + 1) * scale;
  const int x = std::max(0, std::min(box.x0, image.width - width)),
            y = box.y0 >= height ? box.y0 - height : std::max(0, box.y0);
  fill(image, {x, y, x + width, y + height}, color);
  outline(image, {x, y, x + width, y + height}, 1, ink_on(color));  // tags side by side stay apart
  write(image, x + scale, y + scale, text, scale, ink_on(color));
}

void draw_boxes(Image& image, const std::vector<ObjectBox>& boxes, const std::vector<std::string>& labels,
                const DrawOptions& options) {
  const int extent = std::max(image.width, image.height);
  const int line =
                options.line > 0 ? options.line : std::max(1, static_cast<int>(std::lround(extent / 350.0))),
            scale = std::max(1, static_cast<int>(std::lround(extent / 300.0)));
  std::vector<ObjectBox> shown;
  for (const ObjectBox& box : boxes)
    if (box.score >= options.threshold) shown.push_back(box);
  // The surest come last, on top.
  std::stable_sort(shown.begin(), shown.end(),
                   [](const ObjectBox& a, const ObjectBox& b) { return a.score < b.score; });
  const auto area = [](const ObjectBox& box) {
    return Area{static_cast<int>(std::floor(box.x0)), static_cast<int>(std::floor(box.y0)),
                static_cast<int>(std::ceil(box.x1)), static_cast<int>(std::ceil(box.y1))};
  };
  for (const ObjectBox& box : shown) outline(image, area(box), line, class_color(box.label));
  if (!options.tags) return;
  for (const ObjectBox& box : shown) {
    char score[16];
    std::snprintf(score, sizeof score, " %.2f", double{box.score});
    write_tag(image, area(box), font_text(label_name(labels, box.label)) + score, scale,
              class_color(box.label));
  }
}

void draw_mask(Image& image, const Mask& mask, double opacity) {
  ESPALIER_CHECK(mask.width == image.width && mask.height == image.height, "drawing: the mask is ",
                 mask.width, "x", mask.height, ", the picture ", image.width, "x", image.height,
                 "; they must be equal");
  std::array<Color, 256> colors;
  for (int k = 0; k < 256; ++k) colors[k] = class_color(k);
  const int reach = std::max(1, static_cast<int>(std::lround(std::max(image.width, image.height) / 500.0)));
  const auto at = [&](int x, int y) {
    return mask.classes[static_cast<size_t>(std::clamp(y, 0, mask.height - 1)) * mask.width +
                        std::clamp(x, 0, mask.width - 1)];
  };
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const uint8_t k = at(x, y);
      if (k == Mask::kIgnored && (x + y) % (6 * reach) < 2 * reach) paint(image, x, y, kIgnoredColor);
      if (!is_marked(k)) continue;
      const bool border =
          at(x - reach, y) != k || at(x + reach, y) != k || at(x, y - reach) != k || at(x, y + reach) != k;
      const double share = border ? 1 : opacity;
      uint8_t* pixel = image.at(x, y);
      for (int c = 0; c < Image::kChannels; ++c)
        pixel[c] = static_cast<uint8_t>(std::lround(share * colors[k][c] + (1 - share) * pixel[c]));
    }
}

}  // namespace

Color class_color(int label) {
  // Hues a golden angle apart, from magenta and cyan on, which few photographs hold.
  const double hue = std::fmod(0.9 + 0.6180339887 * label, 1.0) * 6, value = label % 2 ? 210 : 255;
  const auto channel = [&](double shift) {
    const double k = std::fmod(shift + hue, 6);
    return static_cast<uint8_t>(std::lround(value - value * 0.85 * std::clamp(std::min(k, 4 - k), 0.0, 1.0)));
  };
  return {channel(5), channel(3), channel(1)};
}

void draw(Image& image, const Prediction& prediction, const std::vector<std::string>& labels,
          const DrawOptions& options) {
  if (!prediction.mask.empty()) draw_mask(image, prediction.mask, options.opacity);
  draw_boxes(image, prediction.boxes, labels, options);
}

}  // namespace espalier
