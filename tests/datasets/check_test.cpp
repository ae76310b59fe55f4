#include "datasets/check.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/interrupt.h"
#include "datasets/pictures.h"
#include "support/temporary_directory.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

int findings(const Json& report, const std::string& severity, const std::string& kind,
             const std::string& split, const std::string& part) {
  return static_cast<int>(
      std::count_if(report["findings"].begin(), report["findings"].end(), [&](const Json& f) {
        return f["severity"] == severity && f["kind"] == kind && f["split"] == split &&
               test::contains(f["message"].get<std::string>(), part);
      }));
}

TEST(CheckDataset, AnInterruptEndsIt) {
  const test::TemporaryDirectory folder;
  test::write_picture(folder.path() / "0.jpg", 0, 20, 16);
  test::write_text(folder.path() / "labels.txt", "a\n");
  test::write_text(folder.path() / "train_list.txt", "0.jpg 0\n");
  request_interrupt();
  EXPECT_THROW(check_dataset({.root = folder.path()}), Interrupted);
  request_interrupt(false);
}

TEST(CheckDataset, ListsEverythingAtOnce) {
  const test::TemporaryDirectory folder;
  const fs::path root = folder.path();
  for (int i = 0; i < 8; ++i) test::write_picture(root / str(i, ".jpg"), i, 20 + i, 16);
  fs::copy(root / "0.jpg", root / "copy of 0.jpg");
  fs::copy(root / "1.jpg", root / "copy of 1.jpg");
  fs::copy(root / "2.jpg", root / "copy of 2.jpg");
  test::write_text(root / "empty.jpg", "");
  test::write_text(root / "text.jpg", "hello");
  test::write_text(root / "labels.txt", "a\nb\nc\n");
  test::write_text(
      root / "train_list.txt",
      "0.jpg 0\n1.jpg 1\n2.jpg 0\ncopy of 2.jpg 1\n0.jpg 0\nempty.jpg 1\n3.jpg 3\n4.jpg\nnone.jpg 0\n"
      "copy of 1.jpg 1\n");
  test::write_text(root / "val_list.txt", "copy of 0.jpg 0\n5.jpg 1\ntext.jpg 2\n5.jpg 0\n");

  const Json report = check_dataset({.root = root});
  const std::string train = (root / "train_list.txt").string(), val = (root / "val_list.txt").string();
  EXPECT_EQ(
      findings(report, "error", "duplicate", "train", train + ":5: '0.jpg' is already in " + train + ":1"),
      1);
  EXPECT_EQ(findings(report, "error", "unreadable", "train", "empty.jpg: the file is empty"), 1);
  EXPECT_EQ(findings(report, "error", "label_range", "train", train + ":7: label 3 is out of range"), 1);
  EXPECT_EQ(findings(report, "error", "no_label", "train", train + ":8: '4.jpg' has no label"), 1);
  EXPECT_EQ(findings(report, "error", "missing", "train", train + ":9: there is no file 'none.jpg'"), 1);
  EXPECT_EQ(findings(report, "error", "empty_class", "train", "class 'c' (label 2)"), 1);
  EXPECT_EQ(findings(report, "error", "identical", "train",
                     "'copy of 2.jpg' is the same picture as '2.jpg', there as a, here as b"),
            1);
  EXPECT_EQ(
      findings(report, "warning", "identical", "train", "'copy of 1.jpg' is the same picture as '1.jpg'"), 1);
  EXPECT_EQ(findings(report, "error", "leak", "val",
                     val + ":1: 'copy of 0.jpg' is the same picture as '0.jpg' in train"),
            1);
  EXPECT_EQ(findings(report, "error", "unreadable", "val", "text.jpg: is no JPEG"), 1);
  EXPECT_EQ(findings(report, "error", "duplicate", "val", "with label 1, here with 0"), 1);
  EXPECT_EQ(findings(report, "warning", "empty_class", "val", "class 'c' (label 2)"), 1);
  EXPECT_EQ(report["findings"].size(), 12u);
  EXPECT_EQ(report["problems"], 10);
  EXPECT_EQ(report["warnings"], 2);

  const Json& about = report["splits"]["train"];
  EXPECT_EQ(about["samples"], 8);
  EXPECT_EQ(about["usable"], 5);
  EXPECT_EQ(about["unreadable"], 1);
  EXPECT_EQ(about["per_class"], Json({2, 3, 0}));
  EXPECT_EQ(about["width"], Json({{"min", 20}, {"median", 21}, {"max", 22}}));
  EXPECT_EQ(about["formats"], Json({{"JPEG", 5}}));
  EXPECT_FALSE(report["splits"].contains("test"));
  const std::string text = describe(report);
  EXPECT_TRUE(test::contains(text, "train: 5 of 8 pictures usable, width 20 .. 22 (median 21)")) << text;
  EXPECT_TRUE(test::contains(text, "10 problems, 2 warnings"));
}

TEST(CheckDataset, OneClassAloneIsAWarning) {
  const test::TemporaryDirectory folder;
  const fs::path root = folder.path();
  for (int i = 0; i < 6; ++i)
    test::write_picture(root / "folders" / (i < 4 ? "train" : "val") / "carrot" / str(i, ".jpg"), i);
  const Json report = check_dataset({.format = "image_folder", .root = root / "folders"});
  EXPECT_EQ(report["problems"], 0);
  EXPECT_EQ(report["warnings"], 1);
  EXPECT_EQ(
      findings(report, "warning", "one_class", "train", "train: all pictures are of one class, 'carrot'"), 1);
  // One class of boxes is what many detectors are for.
  test::write_picture(root / "boxes/images/a.jpg", 1, 20, 16);
  test::write_picture(root / "boxes/images/b.jpg", 2, 20, 16);
  for (const std::string split : {"train", "val"})
    test::write_text(root / "boxes" / (split + ".json"),
                     str(R"({"categories": [{"id": 1, "name": "ant"}], "images": [{"id": 1, "file_name": ")",
                         split == "train" ? "a" : "b",
                         R"(.jpg", "width": 20, "height": 16}], "annotations": [{"id": 1, "image_id": 1, )",
                         R"("category_id": 1, "bbox": [1, 1, 5, 5]}]})"));
  EXPECT_EQ(check_dataset({.format = "coco", .root = root / "boxes"})["findings"], Json::array());
}

/// Rewrites a JPEG with an EXIF block whose one entry is the orientation.
void turn(const fs::path& path, char orientation) {
  const std::string tiff("MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", 19);
  const std::string exif = std::string("Exif\0\0", 6) + tiff + orientation + std::string(6, '\0');
  const std::string jpeg = read_file(path);
  test::write_text(path, jpeg.substr(0, 2) + "\xFF\xE1" + '\0' + static_cast<char>(exif.size() + 2) + exif +
                             jpeg.substr(2));
}

TEST(CheckDataset, PicturesThatExifTurnsAreSaidWhereSizesDoNot) {
  const test::TemporaryDirectory folder;
  const fs::path root = folder.path();
  std::string lines;
  for (int i = 0; i < 5; ++i) {
    const bool square = i == 4;
    test::write_picture(root / str("p", i, ".jpg"), i, square ? 20 : 30, 20);
    test::write_text(
        root / str("a", i, ".xml"),
        str("<annotation><size><width>", square ? 20 : 30, "</width><height>20</height></size><object>",
            "<name>ant</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>",
            "</object></annotation>"));
    lines += str("p", i, ".jpg a", i, ".xml\n");
  }
  test::write_text(root / "labels.txt", "ant\n");
  test::write_text(root / "train_list.txt", lines);
  const auto turned = [&](const std::string& part) {
    return findings(check_dataset({.format = "voc", .root = root}), "warning", "turned", "train", part);
  };
  turn(root / "p0.jpg", 1);
  EXPECT_EQ(turned(""), 0);
  turn(root / "p1.jpg", 3);
  turn(root / "p4.jpg", 8);
  EXPECT_EQ(
      turned(
          "train_list.txt: 2 pictures are turned or mirrored by their EXIF orientation, the first 'p1.jpg'; "
          "boxes must be those of the upright picture"),
      1);
  turn(root / "p2.jpg", 6);  // this one's size tells
  EXPECT_EQ(turned("train_list.txt: 2 pictures"), 1);
  EXPECT_EQ(
      findings(check_dataset({.format = "voc", .root = root}), "error", "other_size", "train", "a2.xml"), 1);
}

TEST(CheckDataset, CleanDataAreClean) {
  const test::TemporaryDirectory folder;
  for (int i = 0; i < 6; ++i)
    test::write_picture(folder.path() / (i < 4 ? "train" : "val") / (i % 2 ? "a" : "b") / str(i, ".jpg"), i);
  test::write_text(folder.path() / "train/a/readme.txt", "x");
  const Json report = check_dataset({.format = "image_folder", .root = folder.path()});
  EXPECT_EQ(report["problems"], 0);
  EXPECT_EQ(report["warnings"], 1);
  EXPECT_EQ(findings(report, "warning", "ignored", "train", "train/a/readme.txt: is no JPEG"), 1);
  EXPECT_EQ(report["labels"], Json({"a", "b"}));
}

TEST(CheckDataset, MissingListsAreFindingsAndAMissingRootIsAnError) {
  const test::TemporaryDirectory folder;
  test::write_text(folder.path() / "labels.txt", "a\n");
  test::write_text(folder.path() / "train_list.txt", "");
  const Json report = check_dataset({.root = folder.path()});
  EXPECT_EQ(findings(report, "error", "list", "val", "val_list.txt: there is no such list"), 1);
  EXPECT_EQ(findings(report, "error", "empty_list", "train", "train_list.txt: lists no pictures"), 1);
  EXPECT_EQ(report["problems"], 2);
  EXPECT_ERROR(check_dataset({.root = folder.path() / "none"}), "there is no such folder");
  EXPECT_ERROR(check_dataset({.format = "vov", .root = folder.path()}),
               "data.format 'vov' is unknown; did you mean 'voc'?");
}

}  // namespace

}  // namespace espalier
