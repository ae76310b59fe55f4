#include "datasets/synthetic.h"

#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <cmath>
#include <map>
#include <set>

#include "base/interrupt.h"
#include "base/random.h"
#include "datasets/check.h"
#include "datasets/dataset.h"
#include "datasets/pictures.h"
#include "support/temporary_directory.h"
#include "tasks/nms.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  return files;
}

constexpr SyntheticOptions kSmall{.classes = 3, .train = 4, .val = 2, .test = 1, .size = 32, .seed = 5};

TEST(Synthetic, IsAnOrdinaryImageList) {
  const test::TemporaryDirectory folder;
  make_pictures(folder.path() / "v", kSmall);
  const DataSpec spec{.root = folder.path() / "v"};
  for (const auto& [split, count] : {std::pair{Split::kTrain, 4}, {Split::kVal, 2}, {Split::kTest, 1}}) {
    const Dataset data = open_dataset(spec, split);
    EXPECT_EQ(data.class_counts(), std::vector<int>(3, count));
    EXPECT_EQ(data.labels, std::vector(vegetable_names().begin(), vegetable_names().begin() + 3));
    const Image image = read_image(data.path(data.samples[0]));
    EXPECT_EQ(image.width, 32);
    EXPECT_EQ(image.height, 32);
  }
  EXPECT_EQ(check_dataset(spec)["problems"], 0);
}

TEST(Synthetic, IsAnOrdinaryImageFolder) {
  const test::TemporaryDirectory folder;
  SyntheticOptions options = kSmall;
  options.layout = "image_folder";
  options.test = 0;
  make_pictures(folder.path() / "v", options);
  const DataSpec spec{.format = "image_folder", .root = folder.path() / "v"};
  EXPECT_EQ(open_dataset(spec, Split::kTrain).class_counts(), std::vector<int>(3, 4));
  EXPECT_EQ(open_dataset(spec, Split::kVal).size(), 6);
  EXPECT_FALSE(has_split(spec, Split::kTest));
}

TEST(Synthetic, SameOptionsGiveTheSameBytesOnAnyNumberOfThreads) {
  const test::TemporaryDirectory folder;
  make_pictures(folder.path() / "a", kSmall);
  {
    const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
    make_pictures(folder.path() / "b", kSmall);
  }
  EXPECT_EQ(contents(folder.path() / "a"), contents(folder.path() / "b"));
  SyntheticOptions other = kSmall;
  other.seed = 6;
  make_pictures(folder.path() / "c", other);
  EXPECT_NE(contents(folder.path() / "a")["carrot/train_carrot_0000.jpg"],
            contents(folder.path() / "c")["carrot/train_carrot_0000.jpg"]);
  other = kSmall;
  other.train = 6;  // more training pictures leave the others as they were
  make_pictures(folder.path() / "d", other);
  auto more = contents(folder.path() / "d");
  for (const auto& [name, bytes] : contents(folder.path() / "a"))
    if (name.ends_with(".jpg")) {
      EXPECT_EQ(more[name], bytes) << name;
    }
}

TEST(Synthetic, InsectsAreAnOrdinaryVocSet) {
  const test::TemporaryDirectory folder;
  const SyntheticOptions options{.train = 24, .val = 6, .test = 2, .size = 96, .seed = 5, .layout = "voc"};
  EXPECT_EQ(picture_count(options), 32);
  make_pictures(folder.path() / "a", options);
  make_pictures(folder.path() / "b", options);
  EXPECT_EQ(contents(folder.path() / "a"), contents(folder.path() / "b"));
  const DataSpec spec{.format = "voc", .root = folder.path() / "a"};
  const Dataset data = open_dataset(spec, Split::kTrain);
  EXPECT_EQ(data.labels, insect_names());
  EXPECT_EQ(data.size(), 24);
  EXPECT_EQ(open_dataset(spec, Split::kTest).size(), 2);
  EXPECT_EQ(check_dataset(spec)["problems"], 0);
  const Image image = read_image(data.path(data.samples[0]));
  EXPECT_EQ(image.width, 96);
  EXPECT_EQ(image.height, 72);
  // The annotation says what was drawn.
  const LabelledImage drawn = draw_insects(6, 96, 5, 3);
  ASSERT_EQ(drawn.boxes.size(), data.samples[3].boxes.size());
  for (size_t i = 0; i < drawn.boxes.size(); ++i) {
    EXPECT_EQ(drawn.boxes[i].label, data.samples[3].boxes[i].label);
    EXPECT_EQ(drawn.boxes[i].x1, data.samples[3].boxes[i].x1);
  }
}

TEST(Synthetic, InsectsVaryAndHardlyOverlap) {
  std::vector<int> counts(6), objects(7);
  double least = 1e9, largest = 0;
  for (int i = 0; i < 60; ++i) {
    const LabelledImage sample = draw_insects(6, 64, 1, i);
    ++objects.at(sample.boxes.size());
    for (size_t a = 0; a < sample.boxes.size(); ++a) {
      const ObjectBox& box = sample.boxes[a];
      ++counts[box.label];
      EXPECT_TRUE(box.x0 >= 0 && box.y0 >= 0 && box.x1 <= 64 && box.y1 <= 48);
      least = std::min(least, std::sqrt(double{box.width()} * box.height()));
      largest = std::max(largest, std::sqrt(double{box.width()} * box.height()));
      for (size_t b = 0; b < a; ++b) EXPECT_LT(overlap_of(box, sample.boxes[b]), 0.2);
    }
  }
  for (const int count : counts) EXPECT_GT(count, 10);
  for (int n = 1; n <= 5; ++n) EXPECT_GT(objects[n], 2) << n;
  EXPECT_LT(least, 7);
  EXPECT_GT(largest, 20);
}

TEST(Synthetic, FundusPicturesAreAnOrdinarySegmentationList) {
  const test::TemporaryDirectory folder;
  const SyntheticOptions options{
      .train = 6, .val = 3, .test = 0, .size = 96, .seed = 5, .layout = "segmentation_list"};
  make_pictures(folder.path() / "a", options);
  make_pictures(folder.path() / "b", options);
  EXPECT_EQ(contents(folder.path() / "a"), contents(folder.path() / "b"));
  const DataSpec spec{.format = "segmentation_list", .root = folder.path() / "a"};
  const Dataset data = open_dataset(spec, Split::kTrain);
  EXPECT_EQ(data.labels, (std::vector<std::string>{"background", "optic_disc"}));
  EXPECT_EQ(check_dataset(spec)["problems"], 0);
  EXPECT_FALSE(has_split(spec, Split::kTest));
  EXPECT_EQ(drawn_labels("segmentation_list"), data.labels);
}

TEST(Synthetic, TheDiscIsBrighterThanItsSurroundingsButBrightnessAloneDoesNotFindIt) {
  int thresholds_that_fail = 0;
  for (int i = 0; i < 40; ++i) {
    const LabelledImage sample = draw_fundus(120, 2, i);
    ASSERT_EQ(sample.image.width, 120);
    ASSERT_EQ(sample.image.height, 80);
    ASSERT_EQ(sample.mask.classes.size(), 120u * 80);
    double disc = 0, ring = 0;
    int64_t in_disc = 0, in_ring = 0, brighter = 0;
    double cx = 0, cy = 0;
    for (int y = 0; y < 80; ++y)
      for (int x = 0; x < 120; ++x)
        if (sample.mask.classes[y * 120 + x] == 1) cx += x, cy += y, ++in_disc;
    ASSERT_GT(in_disc, 0.012 * 9600);
    ASSERT_LT(in_disc, 0.055 * 9600);
    cx /= static_cast<double>(in_disc), cy /= static_cast<double>(in_disc);
    for (int y = 0; y < 80; ++y)
      for (int x = 0; x < 120; ++x) {
        const double green = sample.image.at(x, y)[1];
        if (sample.mask.classes[y * 120 + x] == 1) {
          disc += green;
        } else if (std::hypot(x - cx, y - cy) < 20) {
          ring += green;
          ++in_ring;
        }
      }
    disc /= static_cast<double>(in_disc), ring /= static_cast<double>(in_ring);
    EXPECT_GT(disc, ring + 5) << i;
    for (int y = 0; y < 80; ++y)
      for (int x = 0; x < 120; ++x)
        brighter += sample.mask.classes[y * 120 + x] == 0 && sample.image.at(x, y)[1] > disc;
    thresholds_that_fail += brighter > in_disc / 10;
  }
  EXPECT_GT(thresholds_that_fail, 5);
}

TEST(Synthetic, EveryPictureIsDifferentAndEveryKindDraws) {
  std::set<uint64_t> seen;
  for (size_t kind = 0; kind < vegetable_names().size(); ++kind)
    for (int i = 0; i < 3; ++i) {
      const Image image = draw_vegetable(static_cast<int>(kind), 24, 1, i);
      EXPECT_TRUE(seen.insert(fnv1a(image.pixels.data(), image.pixels.size())).second);
      double mean = 0, square = 0;
      for (const uint8_t p : image.pixels) mean += p, square += p * p;
      mean /= static_cast<double>(image.pixels.size());
      EXPECT_GT(square / static_cast<double>(image.pixels.size()) - mean * mean, 25)
          << vegetable_names()[kind];
    }
  EXPECT_EQ(vegetable_names().size(), 15u);
}

TEST(Synthetic, LeavesWhatIsThereAlone) {
  const test::TemporaryDirectory folder;
  const fs::path v = folder.path() / "v";
  EXPECT_TRUE(must_draw(v));
  make_pictures(v, kSmall);
  EXPECT_FALSE(must_draw(v));
  const auto before = contents(v);
  const auto time = fs::last_write_time(v / "carrot/train_carrot_0000.jpg");
  make_pictures(v, kSmall);  // already complete: nothing is written
  EXPECT_EQ(fs::last_write_time(v / "carrot/train_carrot_0000.jpg"), time);

  SyntheticOptions other = kSmall;
  other.size = 48;
  EXPECT_ERROR(make_pictures(v, other), "holds drawn pictures with other options");
  EXPECT_EQ(contents(v), before);

  // Killed half way: the same command finishes it.
  std::string stamp = before.at("drawn.json");
  stamp.replace(stamp.find("true"), 4, "false");
  test::write_text(v / "drawn.json", stamp);
  fs::remove(v / "carrot/train_carrot_0001.jpg");
  EXPECT_TRUE(must_draw(v));
  make_pictures(v, kSmall);
  EXPECT_EQ(contents(v), before);

  request_interrupt();
  EXPECT_THROW(make_pictures(folder.path() / "w", kSmall), Interrupted);
  request_interrupt(false);
  EXPECT_TRUE(must_draw(folder.path() / "w"));
  make_pictures(folder.path() / "w", kSmall);
  EXPECT_EQ(contents(folder.path() / "w"), before);

  test::write_text(folder.path() / "mine/letter.txt", "dear");
  EXPECT_FALSE(must_draw(folder.path() / "mine"));
  EXPECT_ERROR(make_pictures(folder.path() / "mine", kSmall), "is not empty and was not made by 'data make'");
  EXPECT_ERROR(make_pictures(folder.path() / "mine/letter.txt", kSmall), "is a file; choose a new folder");
  EXPECT_ERROR(make_pictures(folder.path() / "mine/letter.txt/x", kSmall), "the folder cannot be made");
}

TEST(Synthetic, RefusesOptionsOutOfRange) {
  const test::TemporaryDirectory folder;
  const auto with = [&](auto change) {
    SyntheticOptions options = kSmall;
    change(options);
    return test::message_of([&] { make_pictures(folder.path() / "v", options); });
  };
  EXPECT_EQ(with([](auto& o) { o.classes = 16; }), "data make: classes is 16; it must lie in 2 .. 15");
  EXPECT_EQ(with([](auto& o) { o.train = 0; }), "data make: train is 0; it must lie in 1 .. 1000000");
  EXPECT_EQ(with([](auto& o) { o.size = 8; }), "data make: size is 8; it must lie in 16 .. 4096");
  EXPECT_EQ(with([](auto& o) { o.quality = 101; }), "data make: quality is 101; it must lie in 1 .. 100");
  EXPECT_EQ(with([](auto& o) { o.layout = "image_folders"; }),
            "data make: layout is 'image_folders'; did you mean 'image_folder'?");
  EXPECT_EQ(with([](auto& o) { o.layout = "voc", o.classes = 7; }),
            "data make: classes is 7; it must lie in 2 .. 6");
  EXPECT_EQ(with([](auto& o) { o.layout = "segmentation_list", o.classes = 3; }),
            "data make: classes is 3; it must lie in 2 .. 2");
  EXPECT_FALSE(fs::exists(folder.path() / "v"));
  EXPECT_ERROR(draw_vegetable(15, 32, 1, 0), "vegetable kind is 15; 0 .. 14 are known");
}

}  // namespace

}  // namespace espalier
