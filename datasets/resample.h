#pragma once
// Resizing as Pillow does it, to the bit: the filter's support grows with the reduction, so that nothing
// aliases; coefficients have 22 bits of fraction; rows first, then columns, each rounded to 8 bits.

#include <string>
#include <vector>

#include "io/image.h"

namespace espalier {

enum class Filter { kNearest, kBox, kBilinear, kBicubic, kLanczos };

/// "nearest", "box", "bilinear", "bicubic", "lanczos".
const char* name(Filter filter);

/// A rectangle of whole pixels.
struct Box {
  int x = 0, y = 0, width = 0, height = 0;
  bool operator==(const Box&) const = default;
};

/// What fills pixels that no picture covers.
struct Fill {
  uint8_t red = 0, green = 0, blue = 0;
  bool operator==(const Fill&) const = default;
};

/// Which of `in` pixels each of `out` takes, by Filter::kNearest.
std::vector<int> nearest_positions(int in, int out);

/// Throws Error for a part that does not lie within a picture of width x height.
void check_part(int width, int height, const Box& part);

/// The part of `image` inside `box`, which must lie within it.
Image crop(const Image& image, const Box& box);
/// The same for a box that may reach beyond the picture.
Image crop(const Image& image, const Box& box, const Fill& outside);

/// `image` stretched to width x height.
Image resize(const Image& image, int width, int height, Filter filter);

/// resize(crop(image, box), width, height, filter) without the copy.
Image resize(const Image& image, const Box& box, int width, int height, Filter filter);
/// The same for a box that may reach beyond the picture.
Image resize(const Image& image, const Box& box, int width, int height, Filter filter, const Fill& outside);

}  // namespace espalier
