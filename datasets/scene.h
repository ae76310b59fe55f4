#pragma once
// What the drawn pictures of every kind share: ranges to draw from, backgrounds, light, things in the way,
// and the camera.

#include "base/random.h"
#include "datasets/drawing.h"
#include "io/image.h"

namespace espalier {

struct Range {
  double low, high;
  double draw(Random& random) const { return random.uniform(low, high); }
};

struct ColorRange {
  Range hue, saturation, value;
  Rgb draw(Random& r) const {
    const double h = hue.draw(r), s = saturation.draw(r);
    return from_hsv(h, s, value.draw(r));
  }
};

/// Covers the canvas with cloth, planks, a wall or something mottled.
void paint_background(Canvas& canvas, Random& random);

/// A price tag or a hand: a flat patch in front of things, of half length 0.08 .. largest.
void paint_patch(Canvas& canvas, Random& random, double largest);

Light draw_light(Random& random);

/// Half the canvas' side, averaged; exposure, colour of the light, blur, noise of the sensor, 8 bits.
Image develop(const Canvas& canvas, Random& random);

}  // namespace espalier
