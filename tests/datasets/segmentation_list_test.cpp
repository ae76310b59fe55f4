#include <gtest/gtest.h>

#include "datasets/check.h"
#include "datasets/dataset.h"
#include "datasets/mask.h"
#include "datasets/pictures.h"
#include "io/index_png.h"
#include "support/shared.h"
#include "support/temporary_directory.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

struct SegmentationListTest : testing::Test {
  test::TemporaryDirectory folder;
  fs::path root = folder.path();
  DataSpec spec{.format = "segmentation_list", .root = folder.path()};

  void SetUp() override {
    std::string list;
    for (int i = 0; i < 3; ++i) {
      test::write_picture(root / str("p", i, ".jpg"), i, 20, 16);
      write_mask(i, 20, 16, 1);
      list += str("p", i, ".jpg m", i, ".png\n");
    }
    test::write_text(root / "labels.txt", "ground\ndisc\n");
    test::write_text(root / "train_list.txt", list);
  }
  void write_mask(int i, int width, int height, int value) {
    IndexImage mask{width, height, std::vector<uint16_t>(static_cast<size_t>(width) * height)};
    mask.values[5] = static_cast<uint16_t>(value);
    mask.values[6] = Mask::kIgnored;
    write_index_png(root / str("m", i, ".png"), mask, voc_palette());
  }
  std::string error() {
    return test::message_of([&] { open_dataset(spec, Split::kTrain); });
  }
};

TEST_F(SegmentationListTest, ReadsPicturesWithTheirMasks) {
  const Dataset data = open_dataset(spec, Split::kTrain);
  EXPECT_EQ(data.task, "segmentation");
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data.samples[1].mask, "m1.png");
  const Mask mask = read_mask(root / "m1.png", 2);
  EXPECT_EQ(mask.classes[4], 0);
  EXPECT_EQ(mask.classes[5], 1);
  EXPECT_EQ(mask.classes[6], Mask::kIgnored);
  EXPECT_EQ(subset(data, 2, 1).size(), 2);
  const Json report = check_dataset(spec);
  EXPECT_EQ(report["task"], "segmentation");
  EXPECT_EQ(report["splits"]["train"]["pixels"], Json({3 * (320 - 2), 3}));
  EXPECT_EQ(report["splits"]["train"]["per_class"], Json({3, 3}));
}

TEST_F(SegmentationListTest, AnotherMaskOfTheSameNameIsOtherData) {
  const Dataset data = open_dataset(spec, Split::kTrain);
  write_mask(2, 20, 16, 0);
  const Dataset edited = open_dataset(spec, Split::kTrain);
  EXPECT_NE(edited.hash, data.hash);
  EXPECT_NE(subset(edited, 2, 1).hash, subset(data, 2, 1).hash);
  write_mask(2, 20, 16, 1);
  EXPECT_EQ(open_dataset(spec, Split::kTrain).hash, data.hash);
}

TEST_F(SegmentationListTest, MasksOf0And255AreSaid) {
  const auto warnings = [&](const std::string& split) {
    std::string all;
    const Json report = check_dataset(spec);
    for (const Json& finding : report["findings"])
      if (finding["kind"] == "only_ignored" && finding["split"] == split)
        all += finding["severity"].get<std::string>() + ": " + finding["message"].get<std::string>();
    return all;
  };
  EXPECT_EQ(warnings("train"), "") << "ignored pixels beside all classes are as they should be";
  write_mask(1, 20, 16, Mask::kIgnored);
  write_mask(2, 20, 16, Mask::kIgnored);
  const std::string line =
      "train_list.txt: 2 of 3 masks hold only 0 and 255, the first 'm1.png', and 255 is ignored; where it "
      "stands for a class, write the number of the class";
  EXPECT_EQ(warnings("train"), "warning: " + line);
  EXPECT_TRUE(test::contains(describe(check_dataset(spec)), "disc 0.1 %, and 0.52 % of all ignored"))
      << describe(check_dataset(spec));
  EXPECT_EQ(error(), "") << "some masks may well hold nothing else";
  write_mask(0, 20, 16, Mask::kIgnored);
  EXPECT_TRUE(test::contains(error(), "class 'disc' (label 1) has no pictures in train")) << error();
  EXPECT_TRUE(test::contains(error(), "3 of 3 masks hold only 0 and 255")) << error();
}

TEST_F(SegmentationListTest, MasksThatAreIgnoredWholeCannotMeasure) {
  test::write_text(root / "val_list.txt", "p0.jpg m0.png\n");
  EXPECT_EQ(open_dataset(spec, Split::kVal).size(), 1);
  const IndexImage ignored{20, 16, std::vector<uint16_t>(320, Mask::kIgnored)};
  write_index_png(root / "m0.png", ignored, voc_palette());
  spec.on_error = OnError::kSkip;
  EXPECT_ERROR(open_dataset(spec, Split::kVal),
               "val_list.txt: all pixels of its 1 masks are 255, which is ignored; nothing can be measured");
  EXPECT_EQ(open_dataset(spec, Split::kTrain).size(), 3) << "a training may hold such masks";
}

TEST_F(SegmentationListTest, BothPathsMayHoldBlanks) {
  fs::rename(root / "p1.jpg", root / "p 1 left.jpg");
  fs::rename(root / "m1.png", root / "m 1 left.png");
  for (const char* line : {"p 1 left.jpg m 1 left.png", "p 1 left.jpg   m 1 left.png",
                           "p 1 left.jpg\tm 1 left.png", " p 1 left.jpg \t m 1 left.png\r"}) {
    test::write_text(root / "train_list.txt", str("p0.jpg m0.png\n", line, "\np2.jpg m2.png\n"));
    const Dataset data = open_dataset(spec, Split::kTrain);
    EXPECT_EQ(data.samples[1].path, "p 1 left.jpg") << line;
    EXPECT_EQ(data.samples[1].mask, "m 1 left.png") << line;
    EXPECT_EQ(data.samples[2].mask, "m2.png");
  }
  const std::string at = (root / "train_list.txt").string() + ":2: there is no file ";
  const auto with = [&](const std::string& line) {
    test::write_text(root / "train_list.txt", "p0.jpg m0.png\n" + line + "\n");
    return error();
  };
  const std::string advice =
      " in " + root.string() + "; correct the path, part paths with blanks by a tab, or remove the line";
  EXPECT_EQ(with("p 1 left.jpg m 1 right.png"), at + "'p 1 left.jpg m 1'" + advice);
  EXPECT_EQ(with("p 1 left.jpg\tm 1 right.png"), at + "'m 1 right.png'" + advice);
  EXPECT_EQ(with("p0.jpg m9.png"), at.substr(0, at.find(":2:")) + ":2: 'p0.jpg' is already in " +
                                       (root / "train_list.txt").string() +
                                       ":1; remove one of the two lines");
  EXPECT_EQ(with("p2.jpg m9.png"),
            at + "'m9.png' in " + root.string() + "; correct the path or remove the line");
  EXPECT_TRUE(test::contains(with("p2.jpg"), "'p2.jpg' has no mask; write 'image mask.png'"));
}

TEST_F(SegmentationListTest, BadMasksAreOneLine) {
  const std::string mask = (root / "m1.png").string();
  write_mask(1, 20, 15, 1);
  EXPECT_EQ(error(), mask + ": is 20x15, but its picture 'p1.jpg' has 20x16 pixels; make them equal");
  write_mask(1, 20, 16, 2);
  EXPECT_EQ(error(),
            mask +
                ": pixel (5, 0) is 2, but there are 2 classes; 0 .. 1 and 255 for what is ignored are "
                "allowed: correct the mask or add the class");
  write_png(root / "m1.png", read_image(root / "p1.jpg"));
  EXPECT_EQ(error(),
            mask +
                ": is an RGB picture, whose pixels are no class numbers; save it as a palette or grey "
                "PNG with the classes as values");
  fs::copy_file(root / "p1.jpg", root / "m1.png", fs::copy_options::overwrite_existing);
  EXPECT_TRUE(test::contains(error(), mask + ": is a JPEG picture")) << error();
  fs::resize_file(root / "m2.png", 60);
  spec.on_error = OnError::kSkip;
  const Dataset data = open_dataset(spec, Split::kTrain);
  EXPECT_EQ(data.size(), 1);
  EXPECT_EQ(data.skipped_pictures(), 2);
  spec.on_error = OnError::kStop;
  fs::remove(root / "m1.png");
  write_mask(2, 20, 16, 1);
  EXPECT_TRUE(test::contains(error(), "train_list.txt:2: there is no file 'm1.png'")) << error();
  const Json report = check_dataset(spec);
  EXPECT_EQ(report["problems"], 2);  // and there is no list val
}

TEST_F(SegmentationListTest, AClassNobodyShowsAndTooManyClasses) {
  for (int i = 0; i < 3; ++i) write_mask(i, 20, 16, 0);
  EXPECT_TRUE(test::contains(error(), "class 'disc' (label 1) has no pictures in train")) << error();
  spec.check_images = false;  // then nobody looks into the masks
  EXPECT_EQ(error(), "");
  std::string names;
  for (int i = 0; i < 256; ++i) names += str("class", i, "\n");
  test::write_text(root / "labels.txt", names);
  EXPECT_TRUE(test::contains(error(), "names 256 classes; masks hold at most 255")) << error();
}

TEST(SharedSegmentationData, IsReadWhole) {
  const fs::path root = test::shared_path("data/optic_disc");
  if (!fs::exists(root)) GTEST_SKIP() << "no shared data";
  const DataSpec spec{.format = "segmentation_list", .root = root};
  EXPECT_EQ(open_dataset(spec, Split::kTrain).size(), 90);
  EXPECT_EQ(open_dataset(spec, Split::kVal).size(), 19);
}

}  // namespace

}  // namespace espalier
