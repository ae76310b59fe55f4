#pragma once
// Pictures in which one can see where a transform put things: a bright rectangle with its box, a disc with
// its mask.

#include <nlohmann/json.hpp>

#include "datasets/transforms.h"

namespace espalier::test {

/// Black, with a white rectangle of whole pixels where `box` says.
inline LabelledImage boxed(int width, int height, const Box& box, int label = 0) {
  LabelledImage sample;
  sample.image = Image(width, height);
  for (int y = box.y; y < box.y + box.height; ++y)
    for (int x = box.x; x < box.x + box.width; ++x)
      for (int c = 0; c < 3; ++c) sample.image.at(x, y)[c] = 255;
  sample.boxes = {{.x0 = static_cast<float>(box.x),
                   .y0 = static_cast<float>(box.y),
                   .x1 = static_cast<float>(box.x + box.width),
                   .y1 = static_cast<float>(box.y + box.height),
                   .label = label}};
  return sample;
}

/// The extent of what is bright; its width is 0 when nothing is.
inline ObjectBox bright_extent(const Image& image, int threshold = 127) {
  ObjectBox box{.x0 = 1e9f, .y0 = 1e9f, .x1 = 0, .y1 = 0};
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      if (image.at(x, y)[1] <= threshold) continue;
      box.x0 = std::min(box.x0, static_cast<float>(x)), box.x1 = std::max(box.x1, static_cast<float>(x + 1));
      box.y0 = std::min(box.y0, static_cast<float>(y)), box.y1 = std::max(box.y1, static_cast<float>(y + 1));
    }
  return box.x1 > 0 ? box : ObjectBox{};
}

/// A bright disc of class 1 on a dark ground of class 0.
inline LabelledImage disc(int width, int height, double cx, double cy, double radius) {
  LabelledImage sample;
  sample.image = Image(width, height);
  sample.mask = {width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height)};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const double dx = x + 0.5 - cx, dy = y + 0.5 - cy;
      if (dx * dx + dy * dy > radius * radius) continue;
      for (int c = 0; c < 3; ++c) sample.image.at(x, y)[c] = 240;
      sample.mask.classes[static_cast<size_t>(y) * width + x] = 1;
    }
  return sample;
}

/// How many pixels the mask and the picture disagree on, and how many the disc has; ignored ones apart.
struct Agreement {
  int64_t wrong = 0, disc = 0, ignored = 0;
};
inline Agreement agreement(const LabelledImage& sample) {
  Agreement result;
  for (int y = 0; y < sample.image.height; ++y)
    for (int x = 0; x < sample.image.width; ++x) {
      const uint8_t c = sample.mask.classes[static_cast<size_t>(y) * sample.mask.width + x];
      result.ignored += c == Mask::kIgnored;
      if (c == Mask::kIgnored) continue;
      result.disc += c == 1;
      result.wrong += (sample.image.at(x, y)[0] > 120) != (c == 1);
    }
  return result;
}

/// One transform by itself, from its JSON.
inline void apply(const Json& transform, LabelledImage& sample, const Draw& draw) {
  Pipeline(Json::array({transform, {{"name", "normalize"}}})).run(sample, draw, 0, 1);
}

}  // namespace espalier::test
