#pragma once
// A picture with everything known about it, and the changes of geometry that keep all of it true: boxes and
// mask go where the picture goes, and the map from the file's pixels is carried along.

#include <optional>
#include <vector>

#include "datasets/resample.h"
#include "io/image.h"
#include "tasks/annotation.h"

namespace espalier {

/// A picture and what is known about it.
struct LabelledImage {
  Image image;
  int label = -1;                ///< -1: unknown
  std::vector<ObjectBox> boxes;  ///< in the pixels of `image`
  Mask mask;                     ///< of the size of `image`, or empty
  PixelMap to_network;           ///< from the file's pixels to those of `image`

  /// What crop() and place() make of `image`: its pixels move in settle() or in the next resize(), at once
  /// and only those that are needed. Everything else above is of that picture already.
  struct Frame {
    Box part;      ///< of `image`; may reach beyond it
    Fill outside;  ///< what is there; masks have Mask::kIgnored
  };
  std::optional<Frame> frame = {};
  const Image* lent = nullptr;  ///< another's, instead of `image`, as long as nothing has changed its pixels

  const Image& source() const { return lent ? *lent : image; }
  Box part() const { return frame ? frame->part : Box{0, 0, source().width, source().height}; }
  Fill outside() const { return frame ? frame->outside : Fill{}; }
  int width() const { return part().width; }
  int height() const { return part().height; }
  /// The same with the pixels lent by this one, which must outlive it or its settle().
  LabelledImage lend() const;
  void settle();  ///< makes `image` its own and what its frame shows
};

void flip_horizontal(Image& image);
void flip_vertical(Image& image);
void flip_horizontal(LabelledImage& sample);
void flip_vertical(LabelledImage& sample);

/// Turns the picture about its centre, counter-clockwise, in its own frame; bilinear, masks nearest; what
/// comes from outside is `fill`. A box becomes the upright one around what is left of it within the frame;
/// one whose centre leaves the frame is gone. A turn has no PixelMap: its numbers become NaN.
void rotate(Image& image, double degrees, const Fill& fill);
void rotate(LabelledImage& sample, double degrees, const Fill& fill);

/// The part inside `part`, which must lie within the picture. Boxes whose centre lies in it stay, clipped.
void crop(LabelledImage& sample, const Box& part);

/// Stretched to width x height; masks by the nearest pixel, whatever the filter.
void resize(LabelledImage& sample, int width, int height, Filter filter);

/// crop() and resize() at once, without the copy between.
void resize(LabelledImage& sample, const Box& part, int width, int height, Filter filter);

/// Laid with its upper left corner at (x, y) of a canvas of width x height, where it must fit.
void place(LabelledImage& sample, int width, int height, int x, int y, const Fill& fill);

/// The boxes whose centre lies within `part`, clipped to it; still in the coordinates they had.
std::vector<ObjectBox> boxes_within(const std::vector<ObjectBox>& boxes, const Box& part);

/// a then b.
PixelMap compose(const PixelMap& a, const PixelMap& b);

}  // namespace espalier
