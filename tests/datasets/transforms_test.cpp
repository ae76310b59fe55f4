#include "datasets/transforms.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "datasets/pictures.h"
#include "datasets/resample.h"
#include "support/messages.h"

namespace espalier {

namespace {

Random stream(uint64_t n) { return Random(7, Purpose::kTest, 0, n); }

Json named(const char* name) { return Json{{"name", name}}; }

template <class... Steps>
Pipeline pipeline_of(const Steps&... steps) {
  return Pipeline(Json::array({steps...}));
}

TEST(RandomCrop, BoxesLieWithinAndHaveTheAskedAreaAndRatio) {
  double least = 1, mean = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    Random random = stream(i);
    const Box b = random_crop_box({400, 300}, 0.08, 0.75, 4.0 / 3, random);
    ASSERT_GE(b.x, 0);
    ASSERT_GE(b.y, 0);
    ASSERT_LE(b.x + b.width, 400);
    ASSERT_LE(b.y + b.height, 300);
    const double area = b.width * b.height / 120000.0, ratio = static_cast<double>(b.width) / b.height;
    ASSERT_GT(ratio, 0.74);
    ASSERT_LT(ratio, 1.35);
    least = std::min(least, area);
    // At the picture's own ratio everything fits, so the area must be uniform in 0.08 .. 1.
    const Box own = random_crop_box({400, 300}, 0.08, 4.0 / 3, 4.0 / 3, random);
    mean += own.width * own.height / 120000.0 / kDraws;
  }
  EXPECT_NEAR(least, 0.08, 0.01);
  EXPECT_NEAR(mean, 0.54, 0.02);  // 4.7 standard deviations of the mean of 4000
}

TEST(RandomCrop, FallsBackToTheLargestCentralPart) {
  Random random = stream(1);
  EXPECT_EQ(random_crop_box({1000, 10}, 0.9, 0.75, 4.0 / 3, random), (Box{493, 0, 13, 10}));
  EXPECT_EQ(random_crop_box({10, 1000}, 0.9, 0.75, 4.0 / 3, random), (Box{0, 493, 10, 13}));
  EXPECT_EQ(random_crop_box({1, 1}, 0.08, 0.75, 4.0 / 3, random), (Box{0, 0, 1, 1}));
}

TEST(Flip, TwiceIsNothingAndOnceMirrors) {
  for (const int width : {1, 2, 5, 6}) {
    const Image image = test::pattern(width, 7, 3, false);
    Image h = image, v = image;
    flip_horizontal(h);
    flip_vertical(v);
    for (int y = 0; y < 7; ++y)
      for (int x = 0; x < width; ++x)
        for (int c = 0; c < 3; ++c) {
          ASSERT_EQ(h.at(x, y)[c], image.at(width - 1 - x, y)[c]);
          ASSERT_EQ(v.at(x, y)[c], image.at(x, 6 - y)[c]);
        }
    flip_horizontal(h);
    flip_vertical(v);
    EXPECT_EQ(h, image);
    EXPECT_EQ(v, image);
  }
}

TEST(Color, NeutralChangeIsNothing) {
  const Image image = test::pattern(19, 13, 3, false);
  for (const char* order : {"bcsh", "hscb"}) {
    Image same = image;
    change_color(same, {}, order);
    EXPECT_EQ(same, image);
    change_color(same, {.hue_degrees = 360}, order);
    EXPECT_EQ(same, image);
  }
}

/// The four steps by their definitions, in double, one after another and unrounded.
std::vector<double> reference_color(const Image& image, const ColorChange& change, const std::string& order) {
  std::vector<double> v(image.pixels.begin(), image.pixels.end());
  const size_t count = v.size() / 3;
  const auto grey = [&](size_t i) { return 0.299 * v[3 * i] + 0.587 * v[3 * i + 1] + 0.114 * v[3 * i + 2]; };
  for (const char step : order) {
    double mean = 0;
    for (size_t i = 0; i < count; ++i) mean += grey(i) / count;
    for (size_t i = 0; i < count; ++i) {
      const double g = grey(i), r = v[3 * i], b = v[3 * i + 2], green = v[3 * i + 1];
      if (step == 'h') {
        // Y, I, Q; turn; back with the well known inverse, which is accurate to three digits.
        const double a = change.hue_degrees * M_PI / 180;
        const double I = 0.595716 * r - 0.274453 * green - 0.321263 * b,
                     Q = 0.211456 * r - 0.522591 * green + 0.311135 * b;
        const double i2 = std::cos(a) * I - std::sin(a) * Q, q2 = std::sin(a) * I + std::cos(a) * Q;
        v[3 * i] = g + 0.9563 * i2 + 0.6210 * q2;
        v[3 * i + 1] = g - 0.2721 * i2 - 0.6474 * q2;
        v[3 * i + 2] = g - 1.1070 * i2 + 1.7046 * q2;
      }
      for (int c = 0; c < 3; ++c) {
        double& x = v[3 * i + c];
        if (step == 'b') x *= change.brightness;
        if (step == 'c') x = change.contrast * x + (1 - change.contrast) * mean;
        if (step == 's') x = change.saturation * x + (1 - change.saturation) * g;
      }
    }
  }
  return v;
}

TEST(Color, AgreesWithItsDefinitionInEveryOrder) {
  const Image image = test::pattern(17, 11, 9, true);
  std::string order = "bchs";
  do {
    for (const ColorChange& change : {ColorChange{1.3, 0.6, 1.7, 25}, ColorChange{0.4, 1.8, 0.1, -120},
                                      ColorChange{1, 1, 0, 0}, ColorChange{1, 1, 1, 90}}) {
      Image got = image;
      change_color(got, change, order);
      const std::vector<double> want = reference_color(image, change, order);
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_NEAR(got.pixels[i], std::clamp(want[i], 0.0, 255.0), 1.0) << order << " at " << i;
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Color, EveryPixelIsChangedAlikeWhateverItsPlace) {
  for (const int count : {1, 2, 7, 8, 9, 16, 31, 4113}) {
    const Image image = test::pattern(count, 1, 5, false);
    const ColorChange change{.brightness = 1.23, .saturation = 1.4, .hue_degrees = 17};  // without a mean
    Image all = image;
    change_color(all, change, "bcsh");
    for (int x = 0; x < count; ++x) {
      Image one = crop(image, {x, 0, 1, 1});
      change_color(one, change, "bcsh");
      ASSERT_EQ(one, crop(all, {x, 0, 1, 1})) << x << " of " << count;
    }
    Image brighter = image;
    change_color(brighter, {.brightness = 1.23}, "b");
    for (size_t i = 0; i < image.pixels.size(); ++i)
      ASSERT_EQ(brighter.pixels[i], static_cast<uint8_t>(std::min(255.0f, 1.23f * image.pixels[i] + 0.5f)));
  }
}

TEST(Color, ContrastTakesTheMeanOfEveryPixel) {
  for (const auto& [width, height] : {std::pair(1, 1), {5, 3}, {17, 1}, {257, 16}, {300, 41}}) {
    Image image = test::pattern(width, height, 8, false);
    double mean = 0;
    for (size_t i = 0; i < image.pixels.size(); i += 3)
      mean += 0.299 * image.pixels[i] + 0.587 * image.pixels[i + 1] + 0.114 * image.pixels[i + 2];
    change_color(image, {.contrast = 0}, "c");
    for (const uint8_t p : image.pixels)
      ASSERT_EQ(p, std::lround(mean / (width * height))) << width << "x" << height;
  }
}

TEST(Color, HueTurnsRedTowardsBlueOrGreenAndKeepsGrey) {
  Image image(2, 1);
  const uint8_t red_and_grey[] = {200, 40, 40, 90, 90, 90};
  image.pixels.assign(std::begin(red_and_grey), std::end(red_and_grey));
  Image turned = image;
  change_color(turned, {.hue_degrees = 120}, "h");
  EXPECT_NE(turned.at(0, 0)[0], 200);
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(turned.at(1, 0)[c], 90, 1);
  change_color(turned, {.hue_degrees = 0}, "h");
}

TEST(Rotate, QuarterTurnsAreExactAndNothingIsNothing) {
  const Image image = test::pattern(9, 9, 4, false);
  const Fill fill{1, 2, 3};
  Image same = image, quarter = image, back = image;
  rotate(same, 0, fill);
  EXPECT_EQ(same, image);
  rotate(quarter, 90, fill);
  // Counter-clockwise: the right column becomes the top row.
  for (int y = 0; y < 9; ++y)
    for (int x = 0; x < 9; ++x)
      for (int c = 0; c < 3; ++c) ASSERT_NEAR(quarter.at(x, y)[c], image.at(8 - y, x)[c], 1);
  rotate(back, 30, fill);
  EXPECT_EQ(back.at(0, 0)[0], 1);  // a corner comes from outside
  EXPECT_EQ(back.at(0, 0)[2], 3);
  for (int c = 0; c < 3; ++c) EXPECT_EQ(back.at(4, 4)[c], image.at(4, 4)[c]);  // the centre stays
}

TEST(Pipeline, StoresEveryArgumentAndReadsItBack) {
  for (const Json& list :
       {default_train_transforms("classification", 96), default_eval_transforms("classification", 96)}) {
    const Pipeline pipeline(list);
    EXPECT_EQ(pipeline.to_json(), list);
    EXPECT_EQ(Pipeline(pipeline.to_json()).hash(), pipeline.hash());
    EXPECT_EQ(pipeline.output_size(), (Size{96, 96}));
  }
  EXPECT_NE(Pipeline(default_eval_transforms("classification", 96)).hash(),
            Pipeline(default_eval_transforms("classification", 97)).hash());
  const Json all = describe_transforms();
  EXPECT_EQ(all.size(), 17u);
  for (const auto& [name, about] : all.items()) {
    if (name == "normalize") continue;
    const Json complete = pipeline_of(named(name.c_str()), named("normalize")).to_json();
    EXPECT_EQ(complete[0].size(), about["arguments"].size() + 1) << name;
    for (const auto& [key, argument] : about["arguments"].items()) {
      EXPECT_EQ(complete[0][key], argument["default"]) << name << " " << key;
      EXPECT_FALSE(argument["help"].get<std::string>().empty());
    }
  }
}

TEST(Pipeline, DefaultsAreTheReferences) {
  const Json train = default_train_transforms("classification", 224),
             eval = default_eval_transforms("classification", 224);
  EXPECT_EQ(train[0]["lower_scale"], 0.08);
  EXPECT_EQ(train[0]["filter"], "bilinear");
  EXPECT_EQ(train[1]["probability"], 0.5);
  EXPECT_EQ(eval[0]["size"], 256);
  EXPECT_EQ(eval[1]["size"], 224);
  for (const Json& last : {train[2], eval[2]}) {
    EXPECT_EQ(last["mean"], Json({0.485, 0.456, 0.406}));
    EXPECT_EQ(last["std"], Json({0.229, 0.224, 0.225}));
  }
}

TEST(Pipeline, EvaluationIsResizeCropAndNormalize) {
  const Image image = test::pattern(61, 47, 4, true);
  const Pipeline pipeline(
      Json::array({Json{{"name", "resize_short"}, {"size", 40}}, Json{{"name", "center_crop"}, {"size", 33}},
                   Json{{"name", "normalize"}, {"mean", {0.5, 0.4, 0.3}}, {"std", {0.2, 0.3, 0.5}}}}));
  const Tensor out = pipeline(image);
  ASSERT_EQ(out.shape(), (Shape{1, 33, 33, 3}));
  const Image small = resize(image, 52, 40, Filter::kBilinear);
  const double mean[] = {0.5, 0.4, 0.3}, std[] = {0.2, 0.3, 0.5};
  for (int y = 0; y < 33; ++y)
    for (int x = 0; x < 33; ++x)
      for (int c = 0; c < 3; ++c)
        ASSERT_NEAR(out.f32()[(y * 33 + x) * 3 + c], (small.at(x + 9, y + 3)[c] / 255.0 - mean[c]) / std[c],
                    2e-6);
}

TEST(Pipeline, ALineIsNotMadeAPictureOfGigabytes) {
  const Pipeline pipeline(
      Json::array({Json{{"name", "resize_short"}, {"size", 40}}, Json{{"name", "center_crop"}, {"size", 33}},
                   Json{{"name", "normalize"}}}));
  for (const Image& line : {Image(200'000, 1), Image(1, 200'000)})
    test::expect_says(test::message_of([&] { pipeline(line); }), "pixels would have more than 100 million");
  EXPECT_EQ(pipeline(Image(20'000, 1)).shape(), (Shape{1, 33, 33, 3}));
}

TEST(Pipeline, IsAFunctionOfImageAndRandomAlone) {
  const Image image = test::pattern(80, 60, 4, true);
  const Pipeline pipeline({Json{{"name", "random_resized_crop"}, {"size", 32}}, named("color_distort"),
                           named("random_rotate"), named("random_horizontal_flip"),
                           named("random_vertical_flip"), named("normalize")});
  EXPECT_TRUE(pipeline.random());
  EXPECT_EQ(pipeline.deterministic_steps(), 0);
  std::vector<std::vector<float>> first;
  for (int i = 0; i < 8; ++i) {
    Random random = stream(i);
    first.push_back(pipeline(image, random).to_vector());
  }
  for (int i = 7; i >= 0; --i) {
    Random random = stream(i);
    EXPECT_EQ(pipeline(image, random).to_vector(), first[i]);
  }
  for (int i = 1; i < 8; ++i) EXPECT_NE(first[i], first[0]) << i;
}

TEST(Pipeline, ProbabilitiesZeroAndOne) {
  const Image image = test::pattern(12, 10, 4, false);
  const auto run = [&](const char* name, double probability) {
    LabelledImage sample{image};
    Random random = stream(1);
    const Pipeline pipeline =
        pipeline_of(Json{{"name", name}, {"probability", probability}}, named("normalize"));
    pipeline.run(sample, {random}, 0, 1);
    return sample.image;
  };
  for (const char* name :
       {"random_horizontal_flip", "random_vertical_flip", "color_distort", "random_rotate"}) {
    EXPECT_EQ(run(name, 0), image) << name;
    EXPECT_NE(run(name, 1), image) << name;
  }
}

TEST(Pipeline, RefusesWhatItDoesNotKnow) {
  const auto make = [](const Json& list) { return Pipeline(list, "data.transforms.eval"); };
  EXPECT_ERROR(make({named("centre_crop"), named("normalize")}),
               "data.transforms.eval[0]: unknown transform 'centre_crop'; did you mean 'center_crop'?");
  EXPECT_ERROR(make({Json{{"name", "center_crop"}, {"sise", 3}}, named("normalize")}),
               "data.transforms.eval[0] (center_crop): unknown key 'sise'; did you mean 'size'?");
  EXPECT_ERROR(make({Json{{"name", "center_crop"}, {"size", "big"}}, named("normalize")}),
               "size is \"big\"; a whole number");
  EXPECT_ERROR(make({Json{{"name", "center_crop"}, {"size", 2.5}}, named("normalize")}),
               "size is 2.5; a whole number");
  EXPECT_ERROR(make({Json{{"name", "center_crop"}, {"size", 0}}, named("normalize")}),
               "it must lie in 1 .. 16384");
  EXPECT_ERROR(make({Json{{"name", "resize"}, {"filter", "bilinaer"}}, named("normalize")}),
               "did you mean 'bilinear'?");
  EXPECT_ERROR(make({Json{{"name", "random_rotate"}, {"fill", {1, 2}}}, named("normalize")}),
               "a list of 3 numbers");
  EXPECT_ERROR(make({Json{{"name", "random_rotate"}, {"degrees", 181}}, named("normalize")}),
               "it must lie in 0 .. 180");
  EXPECT_ERROR(make({Json{{"name", "random_resized_crop"}, {"ratio", {2, 1}}}, named("normalize")}),
               "the first must not exceed the second");
  EXPECT_ERROR(make(Json::array({Json{{"name", "normalize"}, {"std", {0, 1, 1}}}})), "std has 0");
  EXPECT_ERROR(make(Json::array({named("center_crop")})), "it must be normalize");
  EXPECT_ERROR(make({named("normalize"), named("center_crop")}), "normalize must be the last");
  EXPECT_ERROR(make(nullptr), "is null; a list of transforms");
  EXPECT_ERROR(make(Json::array()), "a list of transforms");
  EXPECT_ERROR(make({Json(3), named("normalize")}), "is 3; expected {\"name\"");
  EXPECT_NO_THROW(
      make({Json("center_crop"), Json("normalize")}));  // a name alone is a transform with its defaults
}

TEST(Pipeline, RefusesToGuess) {
  const Image image = test::pattern(30, 20, 4, false);
  EXPECT_ERROR(Pipeline(default_train_transforms("classification", 16))(image),
               "'random_resized_crop' is random");
  EXPECT_ERROR(pipeline_of(named("center_crop"), named("normalize"))(image),
               "224x224 does not fit into 30x20 pixels");
  EXPECT_FALSE(pipeline_of(named("resize_short"), named("normalize")).output_size().known());
}

}  // namespace

}  // namespace espalier
