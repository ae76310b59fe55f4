// What must hold for every transform there is, whoever writes it.

#include <gtest/gtest.h>

#include "datasets/pictures.h"
#include "datasets/transform_table.h"

namespace espalier {

namespace {

constexpr int kDraws = 20;

/// With an object, which some transforms look for.
LabelledImage picture(int width, int height) {
  LabelledImage sample{test::pattern(width, height, 7, true)};
  sample.boxes = {{.x0 = 60, .y0 = 50, .x1 = 200, .y1 = 180}};
  return sample;
}

/// A part of a larger picture, cut out and not copied yet.
LabelledImage pending() {
  LabelledImage sample = picture(340, 310);
  crop(sample, {20, 10, 300, 280});
  return sample;
}

LabelledImage settled(LabelledImage sample) {
  sample.settle();
  return sample;
}

/// The picture after one draw of many.
Image drawn(const Transform& transform, LabelledImage sample, int number) {
  Random random(11, Purpose::kTest, 0, static_cast<uint64_t>(number));
  const Draw draw{.random = random, .batch = static_cast<double>(number) / kDraws, .partner = [](Random&) {
                    return Partner(LabelledImage{test::pattern(200, 290, 3, false)});
                  }};
  transform.apply(sample, draw);
  sample.settle();
  return sample.image;
}

TEST(EveryTransform, SeesPixelsThatArePendingOrLent) {
  const LabelledImage cut = pending(), whole = settled(pending());
  for (const TransformEntry& entry : transform_table())
    for (int i = 0; i < kDraws; ++i) {
      SCOPED_TRACE(str(entry.name, ", draw ", i));
      const auto transform = entry.make();
      const Image want = drawn(*transform, whole, i);
      EXPECT_EQ(drawn(*transform, cut, i), want) << "a crop before it, whose pixels have not moved yet";
      EXPECT_EQ(drawn(*transform, cut.lend(), i), want) << "pixels of the cache";
      EXPECT_EQ(settled(cut).image, whole.image) << "it changed what was lent";
    }
}

/// Whether draws differ; not where the picture is too large for the transform.
bool varies(const Transform& transform, const LabelledImage& sample) {
  try {
    const Image first = drawn(transform, sample, 0);
    for (int i = 1; i < kDraws; ++i)
      if (drawn(transform, sample, i) != first) return true;
  } catch (const Error&) {
  }
  return false;
}

TEST(EveryTransform, SaysWhetherItIsRandom) {
  const LabelledImage small = settled(pending()), large = picture(600, 560);
  for (const TransformEntry& entry : transform_table()) {
    const auto transform = entry.make();
    const bool differs = varies(*transform, small) || varies(*transform, large);
    EXPECT_EQ(transform->random(), differs) << entry.name << ": what is not random is made once and kept";
  }
}

TEST(EveryTransform, SaysItsSize) {
  const LabelledImage whole = settled(pending());
  for (const TransformEntry& entry : transform_table()) {
    const auto transform = entry.make();
    if (transform->mixes()) continue;  // as large as the larger of two
    for (int i = 0; i < kDraws; ++i) {
      const Size said = transform->size_after({300, 280}, static_cast<double>(i) / kDraws);
      const Image made = drawn(*transform, whole, i);
      if (said.known()) {
        EXPECT_EQ(said, (Size{made.width, made.height})) << entry.name;
      }
    }
  }
}

}  // namespace

}  // namespace espalier
