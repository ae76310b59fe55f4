// What the loader gives for detection and segmentation: targets, annotations, one size a batch, partners.

#include <gtest/gtest.h>

#include <set>

#include "datasets/loader.h"
#include "datasets/marked_pictures.h"
#include "datasets/mask.h"
#include "datasets/pictures.h"
#include "io/index_png.h"
#include "support/temporary_directory.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

constexpr int kPictures = 11;

struct DetectionLoaderTest : testing::Test {
  test::TemporaryDirectory folder;
  Dataset data;

  void SetUp() override {
    std::string list;
    for (int i = 0; i < kPictures; ++i) {
      const Box box{5 + i, 4 + i, 20, 16};
      write_png(folder.path() / str(i, ".png"), test::boxed(60 + i, 50 - i, box).image);
      std::string objects;
      for (int k = 0; k < i % 4; ++k)
        objects += str("<object><name>", k % 2 ? "b" : "a", "</name><bndbox><xmin>", box.x, "</xmin><ymin>",
                       box.y, "</ymin><xmax>", box.x + box.width, "</xmax><ymax>", box.y + box.height,
                       "</ymax></bndbox></object>");
      test::write_text(folder.path() / str(i, ".xml"),
                       str("<annotation><size><width>", 60 + i, "</width><height>", 50 - i,
                           "</height></size>", objects, "</annotation>"));
      list += str(i, ".png ", i, ".xml\n");
    }
    test::write_text(folder.path() / "train_list.txt", list);
    test::write_text(folder.path() / "labels.txt", "a\nb\n");
    data = open_dataset({.format = "voc", .root = folder.path()}, Split::kTrain);
  }
};

struct Seen {
  std::vector<Shape> shapes;
  std::vector<std::vector<float>> images, targets;
  bool operator==(const Seen&) const = default;
};

Seen epoch_of(BatchSource& source, int epoch, int64_t first = 0) {
  Seen seen;
  Batch batch;
  source.start(epoch, first);
  while (source.next(batch)) {
    seen.shapes.push_back(batch.images.shape());
    seen.images.push_back(batch.images.to_vector());
    seen.targets.push_back(batch.targets.at(0).to_vector());
  }
  return seen;
}

TEST_F(DetectionLoaderTest, EvaluationGivesTargetsAndUntouchedAnnotations) {
  for (const int64_t cache : {int64_t{0}, int64_t{1} << 30}) {
    const auto source =
        make_loader(data, Pipeline(default_eval_transforms("detection", 32)), eval_loader_options(4, cache));
    for (int round = 0; round < 2; ++round) {
      source->start();
      Batch batch;
      int at = 0;
      while (source->next(batch)) {
        ASSERT_EQ(batch.targets.size(), 1u);
        const Shape shape = batch.targets[0].shape();
        ASSERT_EQ(shape.axes(), 3);
        ASSERT_EQ(shape[0], batch.size());
        ASSERT_EQ(shape[2], 6);
        ASSERT_EQ(static_cast<int>(batch.annotations.size()), batch.size());
        size_t most = 1;
        for (int i = 0; i < batch.size(); ++i, ++at) {
          const Annotation& a = batch.annotations[i];
          EXPECT_EQ(a.width, 60 + at);
          EXPECT_EQ(a.height, 50 - at);
          EXPECT_DOUBLE_EQ(a.to_network.scale_x, 32.0 / (60 + at));
          EXPECT_DOUBLE_EQ(a.to_network.scale_y, 32.0 / (50 - at));
          ASSERT_EQ(a.boxes.size(), static_cast<size_t>(at % 4));
          most = std::max(most, a.boxes.size());
          for (int k = 0; k < shape[1]; ++k) {
            const float* row = batch.targets[0].f32() + (i * shape[1] + k) * 6;
            if (k >= at % 4) {
              EXPECT_EQ(row[2], 0) << "a row of width 0 is none";
              continue;
            }
            EXPECT_EQ(a.boxes[k].x0, 5 + at);
            EXPECT_NEAR(row[0], (5 + at + 10.0) / (60 + at), 1e-6);
            EXPECT_NEAR(row[1], (4 + at + 8.0) / (50 - at), 1e-6);
            EXPECT_NEAR(row[2], 20.0 / (60 + at), 1e-6);
            EXPECT_NEAR(row[3], 16.0 / (50 - at), 1e-6);
            EXPECT_EQ(row[4], k % 2);
            EXPECT_EQ(row[5], 1);
          }
        }
        EXPECT_EQ(shape[1], static_cast<int>(most));
      }
      EXPECT_EQ(at, kPictures);
    }
  }
}

TEST_F(DetectionLoaderTest, RegionsOfManyAreAnnotationsAndNoTargets) {
  data.samples[3].boxes[1].crowd = true;
  const auto source =
      make_loader(data, Pipeline(default_eval_transforms("detection", 32)), eval_loader_options(1));
  source->start(0, 3);
  Batch batch;
  source->next(batch);
  EXPECT_EQ(batch.annotations[0].boxes.size(), 3u);
  ASSERT_EQ(batch.targets[0].shape()[1], 2);
  EXPECT_EQ(batch.targets[0].f32()[4], 0);
  EXPECT_EQ(batch.targets[0].f32()[10], 0) << "the second of class a, not the crowd of class b";
}

TEST_F(DetectionLoaderTest, ManyBoxesAreAllTargets) {
  data.samples[2].boxes.assign(137, data.samples[2].boxes[0]);
  const auto source =
      make_loader(data, Pipeline(default_train_transforms("detection", 32)), eval_loader_options(3));
  source->start(300);  // after mixup ends
  Batch batch;
  source->next(batch);
  EXPECT_EQ(batch.targets[0].shape()[1], 137);
}

TEST_F(DetectionLoaderTest, TrainingIsAFunctionOfSeedAndEpochAlone) {
  const Pipeline pipeline(default_train_transforms("detection", 96));
  LoaderOptions options = train_loader_options(2, 5);
  options.threads = 1;
  const auto reference = make_loader(data, pipeline, options);
  const Seen zero = epoch_of(*reference, 0), one = epoch_of(*reference, 1);
  EXPECT_NE(zero.images, one.images);
  for (const int threads : {2, 4})
    for (const int64_t cache : {int64_t{0}, int64_t{20000}, int64_t{1} << 30}) {
      options.threads = threads;
      options.cache_bytes = cache;
      const auto source = make_loader(data, pipeline, options);
      EXPECT_EQ(epoch_of(*source, 1), one) << threads << " " << cache;
      EXPECT_EQ(epoch_of(*source, 0), zero) << threads << " " << cache;
      const Seen rest = epoch_of(*source, 0, 3);
      ASSERT_EQ(rest.images.size(), zero.images.size() - 3);
      EXPECT_EQ(rest.images[0], zero.images[3]) << "entered in the middle";
      EXPECT_EQ(rest.targets[0], zero.targets[3]);
    }
}

TEST_F(DetectionLoaderTest, EveryBatchHasOneSizeAndEverySizeComes) {
  const Pipeline pipeline(default_train_transforms("detection", 96));
  ASSERT_EQ(pipeline.output_sizes(), (std::vector<Size>{{64, 64}, {96, 96}}));
  const auto source = make_loader(data, pipeline, train_loader_options(2, 5));
  std::set<int> sides;
  for (int epoch = 0; epoch < 6; ++epoch)
    for (const Shape& shape : epoch_of(*source, epoch).shapes) {
      EXPECT_EQ(shape[1], shape[2]);
      sides.insert(shape[1]);
    }
  EXPECT_EQ(sides, (std::set<int>{64, 96}));
}

TEST_F(DetectionLoaderTest, MixupTakesPartnersFromTheWholeSetUntilItsEpoch) {
  const Pipeline pipeline(
      Json::array({Json{{"name", "mixup"}, {"until_epoch", 40}},
                   Json{{"name", "resize"}, {"width", 16}, {"height", 16}}, "normalize"}));
  LoaderOptions options = eval_loader_options(1);
  const auto source = make_loader(data, pipeline, options);
  std::set<int> counts;
  for (int epoch = 0; epoch < 40; ++epoch) {
    Batch batch;
    source->start(epoch, 3);  // picture 3 has three boxes
    source->next(batch);
    int boxes = 0;
    double first = 0, last = 0;
    for (int k = 0; k < batch.targets[0].shape()[1]; ++k) {
      const float* row = batch.targets[0].f32() + k * 6;
      boxes += row[2] > 0;
      if (k == 0) first = row[5];
      if (k > 2 && row[2] > 0) last = row[5];
    }
    counts.insert(boxes - 3);
    if (boxes > 3) {
      EXPECT_NEAR(first + last, 1, 1e-6);
    }
  }
  EXPECT_EQ(counts, (std::set<int>{0, 1, 2, 3}));
  Batch batch;
  source->start(40, 3);
  source->next(batch);
  EXPECT_EQ(batch.targets[0].shape()[1], 3);
}

TEST_F(DetectionLoaderTest, BoxesAndPicturesAgreeAfterTheWholePipeline) {
  // Without mixup and colours, the bright rectangle is the box, wherever it went. Fill must be dark.
  const Pipeline pipeline(
      Json::array({Json{{"name", "random_expand"}, {"fill", {0, 0, 0}}}, "random_iou_crop",
                   Json{{"name", "multi_scale_resize"}, {"sizes", {128, 192}}}, "random_horizontal_flip",
                   Json{{"name", "normalize"}, {"mean", {0, 0, 0}}, {"std", {1, 1, 1}}}}));
  const auto source = make_loader(data, pipeline, train_loader_options(3, 2));
  int compared = 0;
  for (int epoch = 0; epoch < 8; ++epoch) {
    source->start(epoch);
    Batch batch;
    while (source->next(batch))
      for (int i = 0; i < batch.size(); ++i) {
        const int side = batch.images.shape()[1], most = batch.targets[0].shape()[1];
        const float* row = batch.targets[0].f32() + i * most * 6;
        if (!(row[2] > 0)) continue;
        Image image(side, side);
        const float* pixels = batch.images.f32() + static_cast<int64_t>(i) * side * side * 3;
        for (size_t k = 0; k < image.pixels.size(); ++k)
          image.pixels[k] = static_cast<uint8_t>(std::clamp(pixels[k] * 255 + 0.5f, 0.0f, 255.0f));
        const ObjectBox seen = test::bright_extent(image);
        const float limit = static_cast<float>(side) / 20;  // a small part enlarged has wide, soft edges
        EXPECT_NEAR((row[0] - row[2] / 2) * side, seen.x0, limit);
        EXPECT_NEAR((row[1] - row[3] / 2) * side, seen.y0, limit);
        EXPECT_NEAR((row[0] + row[2] / 2) * side, seen.x1, limit);
        EXPECT_NEAR((row[1] + row[3] / 2) * side, seen.y1, limit);
        ++compared;
      }
  }
  EXPECT_GT(compared, 40);
}

struct SegmentationLoaderTest : testing::Test {
  test::TemporaryDirectory folder;
  Dataset data;

  void SetUp() override {
    std::string list;
    for (int i = 0; i < kPictures; ++i) {
      const LabelledImage disc = test::disc(60 + i, 40, 25 + i, 20, 9);
      write_png(folder.path() / str(i, ".png"), disc.image);
      write_index_png(
          folder.path() / str("m", i, ".png"),
          {disc.mask.width, disc.mask.height, {disc.mask.classes.begin(), disc.mask.classes.end()}},
          voc_palette());
      list += str(i, ".png m", i, ".png\n");
    }
    test::write_text(folder.path() / "train_list.txt", list);
    test::write_text(folder.path() / "labels.txt", "ground\ndisc\n");
    data = open_dataset({.format = "segmentation_list", .root = folder.path()}, Split::kTrain);
  }
};

TEST_F(SegmentationLoaderTest, EvaluationGivesPaddedTargetsAndTheFilesMask) {
  for (const int64_t cache : {int64_t{0}, int64_t{1} << 30}) {
    const auto source = make_loader(data, Pipeline(default_eval_transforms("segmentation", 48)),
                                    eval_loader_options(3, cache));
    for (int round = 0; round < 2; ++round) {
      source->start();
      Batch batch;
      int at = 0;
      while (source->next(batch)) {
        ASSERT_EQ(batch.targets[0].shape(), (Shape{batch.size(), 48, 48}));
        for (int i = 0; i < batch.size(); ++i, ++at) {
          const Annotation& a = batch.annotations[i];
          EXPECT_EQ(a.width, 60 + at);
          EXPECT_EQ(a.mask.classes, read_mask(folder.path() / str("m", at, ".png"), 2).classes);
          EXPECT_DOUBLE_EQ(a.to_network.scale_x, 48.0 / (60 + at));
          EXPECT_EQ(a.to_network.offset_y, 0);
          const int32_t* target = batch.targets[0].s32() + i * 48 * 48;
          const float* pixels = batch.images.f32() + i * 48 * 48 * 3;
          int disc = 0, wrong = 0, ignored = 0;
          for (int k = 0; k < 48 * 48; ++k) {
            disc += target[k] == 1;
            ignored += target[k] == Mask::kIgnored;
            if (target[k] != Mask::kIgnored) wrong += (pixels[k * 3] > 0) != (target[k] == 1);
          }
          EXPECT_GT(disc, 80);
          EXPECT_LT(wrong, disc / 8);
          EXPECT_EQ(ignored, 48 * (48 - std::lround(40 * 48.0 / (60 + at))));
        }
      }
      EXPECT_EQ(at, kPictures);
    }
  }
}

TEST_F(SegmentationLoaderTest, TrainingIsAFunctionOfSeedAndEpochAlone) {
  const Pipeline pipeline(default_train_transforms("segmentation", 48));
  LoaderOptions options = train_loader_options(2, 5);
  options.threads = 1;
  const Seen want = epoch_of(*make_loader(data, pipeline, options), 2);
  options.threads = 4;
  options.cache_bytes = 1 << 30;
  const auto source = make_loader(data, pipeline, options);
  epoch_of(*source, 0);
  EXPECT_EQ(epoch_of(*source, 2), want);
  Batch batch;
  source->start(0);
  source->next(batch);
  EXPECT_TRUE(batch.annotations.empty());
}

TEST_F(SegmentationLoaderTest, AMaskThatGoesBadIsAnErrorOfItsBatch) {
  test::write_text(folder.path() / "m4.png", "x");
  const auto source =
      make_loader(data, Pipeline(default_eval_transforms("segmentation", 48)), eval_loader_options(3));
  Batch batch;
  source->start();
  EXPECT_TRUE(source->next(batch));
  EXPECT_ERROR(source->next(batch), "m4.png: is no JPEG, PNG or BMP picture");
}

}  // namespace

}  // namespace espalier
