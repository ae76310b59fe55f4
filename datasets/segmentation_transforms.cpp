// Transforms that keep the aspect ratio and fill up with padding: what masks are trained and measured with.
// Padding comes at the right and at the bottom, and is ignored in masks.

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "datasets/transform_table.h"

namespace espalier {

namespace {

/// Half of the range: the zero of a normalize with mean 0.5.
const FillArgument kMiddle = {{127.5, 127.5, 127.5}};

void resize_long(LabelledImage& s, int size, Filter filter) {
  const double factor = static_cast<double>(size) / std::max(s.width(), s.height());
  const auto side = [&](int n) { return std::max(1, static_cast<int>(std::lround(n * factor))); };
  resize(s, side(s.width()), side(s.height()), filter);
}

struct ResizeLong final : Transform {
  int size = 512;
  FilterArgument filter;

  const char* name() const override { return "resize_long"; }
  const char* help() const override { return "the longer side becomes size, the aspect ratio stays"; }
  void arguments(ArgumentVisitor& v) override {
    v.integer("size", size, 1, kLargestSide, "the longer side of the result in pixels");
    filter.visit(v);
  }
  Size size_after(Size before, double) const override {
    return before.known() && before.width == before.height ? Size{size, size} : Size{};
  }
  void apply(LabelledImage& s, const Draw&) const override { resize_long(s, size, filter.value()); }
};

struct RandomResizeLong final : Transform {
  int low = 400, high = 600;
  FilterArgument filter;

  const char* name() const override { return "random_resize_long"; }
  const char* help() const override { return "the longer side becomes a random size in low .. high"; }
  void arguments(ArgumentVisitor& v) override {
    v.integer("low", low, 1, kLargestSide, "least size of the longer side in pixels");
    v.integer("high", high, 1, kLargestSide, "largest size of the longer side in pixels");
    filter.visit(v);
  }
  void prepare() override {
    ESPALIER_CHECK(low <= high, "low is ", low, " and high is ", high, "; low must not exceed high");
  }
  Size size_after(Size, double) const override { return {}; }
  bool random() const override { return true; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    resize_long(s, low + draw.random.below(high - low + 1), filter.value());
  }
};

struct Pad final : Transform {
  int size = 512;
  FillArgument fill = kMiddle;

  const char* name() const override { return "pad"; }
  const char* help() const override { return "filled up to size x size, at the right and at the bottom"; }
  void arguments(ArgumentVisitor& v) override {
    v.integer("size", size, 1, kLargestSide, "side of the result in pixels");
    fill.visit(v);
  }
  Size size_after(Size, double) const override { return {size, size}; }
  void apply(LabelledImage& s, const Draw&) const override {
    ESPALIER_CHECK(s.width() <= size && s.height() <= size, "pad: ", s.width(), "x", s.height(),
                   " pixels are more than ", size, "x", size, "; put resize_long before it");
    place(s, size, size, 0, 0, fill.value());
  }
};

struct RandomPaddingCrop final : Transform {
  int size = 512;
  FillArgument fill = kMiddle;

  const char* name() const override { return "random_padding_crop"; }
  const char* help() const override {
    return "filled up to at least size x size, then a random part of that size";
  }
  void arguments(ArgumentVisitor& v) override {
    v.integer("size", size, 1, kLargestSide, "side of the result in pixels");
    fill.visit(v);
  }
  Size size_after(Size, double) const override { return {size, size}; }
  bool random() const override { return true; }
  void apply(LabelledImage& s, const Draw& draw) const override {
    place(s, std::max(s.width(), size), std::max(s.height(), size), 0, 0, fill.value());
    const int x = draw.random.below(s.width() - size + 1), y = draw.random.below(s.height() - size + 1);
    crop(s, {x, y, size, size});
  }
};

}  // namespace

std::vector<TransformEntry> segmentation_transforms() {
  return {transform_entry<ResizeLong>(), transform_entry<RandomResizeLong>(), transform_entry<Pad>(),
          transform_entry<RandomPaddingCrop>()};
}

}  // namespace espalier
