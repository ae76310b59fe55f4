// voc and coco: what the files say, and what they get wrong.

#include <gtest/gtest.h>

#include "datasets/check.h"
#include "datasets/dataset.h"
#include "datasets/pictures.h"
#include "support/shared.h"
#include "support/temporary_directory.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

std::string object(const std::string& name, const std::string& box, const std::string& more = "") {
  constexpr const char* keys[] = {"xmin", "ymin", "xmax", "ymax"};
  std::istringstream in(box);
  std::string bounds;
  for (const char* key : keys) {
    std::string value;
    in >> value;
    bounds += str("<", key, ">", value, "</", key, ">");
  }
  return str("<object><name>", name, "</name>", more, "<bndbox>", bounds, "</bndbox></object>\n");
}

std::string annotation(const std::string& file, const std::string& objects,
                       const std::string& size = "<size><width>40</width><height>30</height></size>") {
  return str("<annotation>\n<filename>", file, "</filename>\n", size, "\n", objects, "</annotation>\n");
}

struct VocTest : testing::Test {
  test::TemporaryDirectory folder;
  fs::path root = folder.path();
  DataSpec spec{.format = "voc", .root = folder.path()};

  void SetUp() override {
    for (int i = 0; i < 3; ++i) test::write_picture(root / str("p", i, ".jpg"), i, 40, 30);
    test::write_text(root / "labels.txt", "ant\nbee\n");
    write(0, annotation("p0.jpg", object("ant", "1 2 11 12") +
                                      object("bee", "20 5 40 30", "<difficult>1</difficult>")));
    write(1, annotation("p1.jpg", object("bee", "3.5 4 9.25 8")));
    write(2, annotation("p2.jpg", ""));
    list(3);
  }
  void write(int i, const std::string& xml) { test::write_text(root / str("a", i, ".xml"), xml); }
  void list(int count) {
    std::string lines;
    for (int i = 0; i < count; ++i) lines += str("p", i, ".jpg a", i, ".xml\n");
    test::write_text(root / "train_list.txt", lines);
  }
  Dataset open() { return open_dataset(spec, Split::kTrain); }
  std::string error() {
    return test::message_of([&] { open(); });
  }
  /// Annotation 1 with this object beside a good one: one line says what is wrong, and skip drops the box
  /// alone.
  void expect_bad_box(const std::string& bad, const std::string& says) {
    write(1, annotation("p1.jpg", bad + object("bee", "3 4 9 8")));
    const std::string place = (root / "a1.xml").string() + ": object 1";
    EXPECT_EQ(error(), place + says);
    EXPECT_EQ(error().find('\n'), std::string::npos);
    spec.on_error = OnError::kSkip;
    const Dataset data = open();
    EXPECT_EQ(data.size(), 3);
    EXPECT_EQ(data.samples[1].boxes.size(), 1u);
    EXPECT_EQ(data.skipped.size(), 1u);
    EXPECT_EQ(data.skipped_pictures(), 0);
    spec.on_error = OnError::kStop;
  }
};

TEST_F(VocTest, BothPathsMayHoldBlanks) {
  fs::rename(root / "p1.jpg", root / "p 1.jpg");
  fs::rename(root / "a1.xml", root / "a 1.xml");
  test::write_text(root / "a 1.xml", annotation("p 1.jpg", object("bee", "3.5 4 9.25 8")));
  for (const char* line : {"p 1.jpg a 1.xml", "p 1.jpg\ta 1.xml"}) {
    test::write_text(root / "train_list.txt", str("p0.jpg a0.xml\n", line, "\n"));
    EXPECT_EQ(open().samples.at(1).path, "p 1.jpg") << line;
    EXPECT_EQ(open().samples.at(1).boxes.size(), 1u) << line;
  }
  test::write_text(root / "train_list.txt", "p0.jpg a0.xml\np 1.jpg a 2.xml\n");
  EXPECT_TRUE(test::contains(error(), "part paths with blanks by a tab")) << error();
}

TEST_F(VocTest, ReadsBoxesAsTheyStand) {
  const Dataset data = open();
  EXPECT_EQ(data.task, "detection");
  ASSERT_EQ(data.size(), 3);
  ASSERT_EQ(data.samples[0].boxes.size(), 2u);
  const ObjectBox &ant = data.samples[0].boxes[0], &bee = data.samples[0].boxes[1];
  EXPECT_EQ(ant.label, 0);
  EXPECT_EQ(ant.x0, 1);
  EXPECT_EQ(ant.y0, 2);
  EXPECT_EQ(ant.x1, 11);
  EXPECT_EQ(ant.y1, 12);
  EXPECT_FALSE(ant.difficult);
  EXPECT_TRUE(bee.difficult);
  EXPECT_EQ(bee.x1, 40);  // the last pixel, counted from 1, is the right edge
  EXPECT_EQ(data.samples[1].boxes[0].x0, 3.5f);
  EXPECT_TRUE(data.samples[2].boxes.empty());
  EXPECT_EQ(data.class_counts(), (std::vector<int>{1, 2}));
  EXPECT_NE(subset(data, 2, 1).hash, data.hash);
  const uint64_t before = data.hash;
  write(1, annotation("p1.jpg", object("bee", "3 4 9.25 8")));
  EXPECT_NE(open().hash, before);
}

TEST_F(VocTest, BoxesAreClippedToThePicture) {
  write(1, annotation("p1.jpg", object("bee", "-3 4 9 8") + object("bee", "30 20 41 99")));
  const Dataset data = open();
  EXPECT_TRUE(data.skipped.empty());
  EXPECT_EQ(data.samples[1].boxes[0].x0, 0);
  EXPECT_EQ(data.samples[1].boxes[1].x1, 40);
  EXPECT_EQ(data.samples[1].boxes[1].y1, 30);
  const Json report = check_dataset(spec);
  int clipped = 0;
  for (const Json& finding : report["findings"]) clipped += finding["kind"] == "box_clipped";
  EXPECT_EQ(clipped, 2);
  EXPECT_EQ(report["splits"]["train"]["boxes"], 4);
  EXPECT_EQ(report["splits"]["train"]["without_boxes"], 1);
  EXPECT_EQ(report["splits"]["train"]["per_class"], Json({1, 3}));
}

TEST_F(VocTest, ABadBoxIsOneLineAndLosesNothingElse) {
  expect_bad_box(object("bee", "5 5 5 9"),
                 " (bee on p1.jpg) has the box 5, 5, 5, 9, which has no area; correct or remove it");
  expect_bad_box(object("bee", "9 5 3 9"),
                 " (bee on p1.jpg) has the box 9, 5, 3, 9, which has no area; correct or remove it");
  expect_bad_box(
      object("ant", "50 5 60 9"),
      " (ant on p1.jpg) has the box 50, 5, 60, 9, which lies outside of the picture of 40x30; correct "
      "or remove it");
  expect_bad_box(
      object("bee", "nan 5 60 9"),
      " (bee on p1.jpg) has the box nan, 5, 60, 9, which are not four finite numbers; correct or remove "
      "it");
  expect_bad_box(
      object("bee", "1 five 60 9"),
      " (bee on p1.jpg) has the box 1, nan, 60, 9, which are not four finite numbers; correct or remove "
      "it");
  expect_bad_box(
      object("bee", "1 2 inf 9"),
      " (bee on p1.jpg) has the box 1, 2, inf, 9, which are not four finite numbers; correct or remove "
      "it");
  expect_bad_box(
      "<object><name>bee</name></object>",
      " (bee on p1.jpg) has the box nan, nan, nan, nan, which are not four finite numbers; correct or "
      "remove it");
  expect_bad_box(object("bees", "1 2 6 9"),
                 " is a 'bees', which labels.txt does not name; did you mean 'bee'?");
}

TEST_F(VocTest, WhatToolsWriteInTheirOwnWay) {
  write(1, annotation("p1.jpg", object("\n  bee ", "3 4 9 8", "<difficult>true</difficult>") +
                                    object("bee", "3 4 9 8", "<difficult> 1 </difficult>") +
                                    object("bee", "3 4 9 8", "<difficult>Unspecified</difficult>") +
                                    object("bee", "3 4 9 8")));
  const Dataset data = open();
  ASSERT_EQ(data.samples[1].boxes.size(), 4u);
  EXPECT_TRUE(data.samples[1].boxes[0].difficult);
  EXPECT_TRUE(data.samples[1].boxes[1].difficult);
  EXPECT_FALSE(data.samples[1].boxes[2].difficult);
  EXPECT_FALSE(data.samples[1].boxes[3].difficult);
}

TEST_F(VocTest, AnAnnotationOfAnotherPictureIsRefused) {
  const std::string xml = (root / "a1.xml").string(), line = (root / "train_list.txt").string() + ":2";
  write(1, annotation("p7.jpg", object("bee", "3 4 9 8")));
  EXPECT_EQ(error(), xml + ": is of 'p7.jpg' by its <filename>, but " + line +
                         " gives it to 'p1.jpg'; correct one of the two");
  write(1,
        annotation("p1.jpg", object("bee", "3 4 9 8"), "<size><width>30</width><height>40</height></size>"));
  EXPECT_EQ(error(), xml +
                         ": is of a picture of 30x40, but 'p1.jpg' has 40x30 pixels (upright); correct the "
                         "annotation");
  spec.on_error = OnError::kSkip;
  EXPECT_EQ(open().size(), 2);
  EXPECT_EQ(open().skipped_pictures(), 1);
  // A folder of another machine, an ending that is not there: the same file all the same.
  spec.on_error = OnError::kStop;
  for (const char* name : {"C:\\data\\p1.jpg", "/home/x/p1.png", "p1"}) {
    write(1, annotation(name, object("bee", "3 4 9 8")));
    EXPECT_EQ(error(), "") << name;
  }
}

TEST_F(VocTest, AMissingSizeIsSaidAndCostsNothing) {
  write(1, annotation("p1.jpg", object("bee", "3 4 99 8"), ""));
  EXPECT_EQ(error(),
            (root / "a1.xml").string() +
                ": has no <size> with width and height, so nobody can tell whether its boxes are of this "
                "picture; add them");
  spec.on_error = OnError::kSkip;
  for (const bool decode : {true, false}) {
    spec.check_images = decode;
    const Dataset data = open();
    EXPECT_EQ(data.size(), 3);
    EXPECT_EQ(data.samples[1].boxes[0].x1, 40) << "clipped to the picture itself";
    EXPECT_EQ(data.skipped_pictures(), 0);
  }
}

TEST_F(VocTest, BrokenFilesAreOneLine) {
  const std::string xml = (root / "a1.xml").string();
  const std::string whole = annotation("p1.jpg", object("bee", "3 4 9 8"));
  write(1, whole.substr(0, whole.size() / 2));
  EXPECT_TRUE(test::contains(error(), xml + ":4: is no whole XML (")) << error();
  EXPECT_EQ(error().find('\n'), std::string::npos);
  write(1, "");
  EXPECT_TRUE(test::contains(error(), "a1.xml:1: is no whole XML (")) << error();
  write(1, "<html></html>");
  EXPECT_EQ(error(), xml + ": has no <annotation>; an annotation as in PASCAL VOC is expected");
  fs::remove(root / "a1.xml");
  EXPECT_EQ(error(), (root / "train_list.txt").string() + ":2: there is no file 'a1.xml' in " +
                         root.string() + "; correct the path or remove the line");
  test::write_text(root / "train_list.txt", "p0.jpg a0.xml\np1.jpg\n");
  EXPECT_EQ(error(), (root / "train_list.txt").string() +
                         ":2: 'p1.jpg' has no annotation; write 'image.jpg annotation.xml'");
}

TEST_F(VocTest, EveryTruncatedAnnotationIsRefused) {
  const std::string whole = annotation("p1.jpg", object("bee", "3 4 9 8"));
  const size_t end = whole.find_last_of('>');
  for (size_t length = 0; length < end; ++length) {
    write(1, whole.substr(0, length));
    ASSERT_NE(error(), "") << length;
  }
}

TEST_F(VocTest, NoChangedByteDoesHarm) {
  const std::string whole = annotation("p1.jpg", object("bee", "3 4 9 8"));
  for (size_t at = 0; at < whole.size(); ++at)
    for (const int flip : {0x01, 0x80}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      write(1, changed);
      if (!error().empty()) continue;  // said, or it still is a sound annotation
      const Dataset data = open();
      for (const ObjectBox& box : data.samples[1].boxes)
        ASSERT_TRUE(box.x0 >= 0 && box.x0 < box.x1 && box.x1 <= 40 && box.y0 < box.y1 && box.y1 <= 30)
            << changed;
    }
}

TEST_F(VocTest, AClassWithoutBoxesAndASetWithoutObjects) {
  write(0, annotation("p0.jpg", ""));
  EXPECT_EQ(error(),
            "train_list.txt: class 'ant' (label 0) has no boxes in train; add some or remove the class");
  spec.on_error = OnError::kSkip;
  EXPECT_EQ(open().skipped.size(), 1u);
  EXPECT_EQ(open().skipped_pictures(), 0) << "a class is no picture";
  // What cannot be measured is said when it is opened, whatever is skipped.
  const std::string nothing =
      "val_list.txt: none of its 2 pictures has an object, those apart that are difficult or a crowd; "
      "nothing "
      "can be measured: correct val";
  write(1, annotation("p1.jpg", object("bee", "3 4 9 8", "<difficult>1</difficult>")));
  test::write_text(root / "val_list.txt", "p1.jpg a1.xml\np2.jpg a2.xml\n");
  EXPECT_EQ(test::message_of([&] { open_dataset(spec, Split::kVal); }), nothing);
  int said = 0;
  const Json report = check_dataset(spec);
  for (const Json& finding : report["findings"])
    said += finding["severity"] == "error" && finding["message"] == nothing;
  EXPECT_EQ(said, 1);
  write(1, annotation("p1.jpg", object("bee", "3 4 9 8")));
  EXPECT_EQ(open_dataset(spec, Split::kVal).class_counts(), (std::vector<int>{0, 1}));
}

TEST_F(VocTest, ManyBoxesAreAllKept) {
  std::string many;
  for (int i = 0; i < 137; ++i)
    many += object("ant", str(i % 30, " ", i % 20, " ", i % 30 + 5, " ", i % 20 + 6));
  write(1, annotation("p1.jpg", many));
  EXPECT_EQ(open().samples[1].boxes.size(), 137u);
}

TEST_F(VocTest, BoxesAreRenumberedToTheLabelsOfTheModel) {
  spec.expected_labels = {"wasp", "bee", "ant"};
  const Dataset data = open();
  EXPECT_EQ(data.samples[0].boxes[0].label, 2);
  EXPECT_EQ(data.samples[0].boxes[1].label, 1);
  spec.expected_labels = {"ant", "wasp"};
  EXPECT_TRUE(test::contains(error(), "the model does not know class 'bee'")) << error();
}

struct CocoTest : testing::Test {
  test::TemporaryDirectory folder;
  fs::path root = folder.path();
  DataSpec spec{.format = "coco", .root = folder.path()};
  Json json;

  void SetUp() override {
    for (int i = 0; i < 3; ++i) test::write_picture(root / "images" / str("p", i, ".jpg"), i, 40, 30);
    json = {{"images",
             {{{"id", 7}, {"file_name", "p0.jpg"}, {"width", 40}, {"height", 30}},
              {{"id", 3}, {"file_name", "p1.jpg"}, {"width", 40}, {"height", 30}},
              {{"id", 5}, {"file_name", "p2.jpg"}}}},
            {"categories", {{{"id", 18}, {"name", "dog"}}, {{"id", 2}, {"name", "cat"}}}},
            {"annotations",
             {{{"id", 1}, {"image_id", 7}, {"category_id", 18}, {"bbox", {1, 2, 10, 12.5}}, {"iscrowd", 0}},
              {{"id", 2}, {"image_id", 3}, {"category_id", 2}, {"bbox", {0, 0, 40, 30}}, {"iscrowd", 1}},
              {{"id", 9},
               {"image_id", 7},
               {"category_id", 2},
               {"bbox", {3, 3, 4, 4}},
               {"segmentation", {1, 2}}}}}};
    write();
  }
  void write() { test::write_text(root / "train.json", json.dump()); }
  Dataset open() { return open_dataset(spec, Split::kTrain); }
  std::string error() {
    write();
    return test::message_of([&] { open(); });
  }
};

TEST_F(CocoTest, ReadsImagesBoxesAndCategories) {
  const Dataset data = open();
  EXPECT_EQ(data.task, "detection");
  EXPECT_EQ(data.labels, (std::vector<std::string>{"cat", "dog"}));  // by rising id
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data.samples[0].path, "images/p0.jpg");
  ASSERT_EQ(data.samples[0].boxes.size(), 2u);
  EXPECT_EQ(data.samples[0].boxes[0].label, 1);
  EXPECT_EQ(data.samples[0].boxes[0].x1, 11);
  EXPECT_EQ(data.samples[0].boxes[0].y1, 14.5f);
  EXPECT_TRUE(data.samples[1].boxes[0].crowd);
  EXPECT_EQ(data.samples[1].boxes[0].x1, 40);
  EXPECT_TRUE(data.samples[2].boxes.empty());
}

TEST_F(CocoTest, AHundredThousandBracketsAreSaid) {
  std::string text = json.dump();
  const size_t at = text.find("\"p0.jpg\"");
  text.replace(at, 8, std::string(100'000, '[') + std::string(100'000, ']'));
  test::write_text(root / "train.json", text);
  EXPECT_TRUE(test::contains(test::message_of([&] { open(); }), "train.json: has more than"));
}

TEST_F(CocoTest, FoldersAndLabelsByOption) {
  fs::rename(root / "images", root / "train2017");
  EXPECT_EQ(error(),
            (root / "images").string() + ": there is no such folder of pictures; name it with data.images");
  spec.images = "{split}2017";
  EXPECT_EQ(open().samples[1].path, "train2017/p1.jpg");
  test::write_text(root / "labels.txt", "dog\nfox\ncat\n");
  spec.labels = "labels.txt";
  spec.check_images = false;
  EXPECT_TRUE(test::contains(error(), "class 'fox' (label 1) has no boxes")) << error();
  test::write_text(root / "labels.txt", "dog\ncat\n");
  EXPECT_EQ(open().samples[0].boxes[0].label, 0);
  test::write_text(root / "labels.txt", "dog\ncats\n");
  EXPECT_TRUE(test::contains(
      error(), (root / "train.json").string() +
                   ": object 2: is a 'cat', which labels.txt does not name; did you mean 'cats'?"))
      << error();
}

TEST_F(CocoTest, ALabelsFileMayLeaveOutWhatNoBoxHas) {
  json["categories"].push_back({{"id", 0}, {"name", "animals"}});
  EXPECT_EQ(error(),
            "train.json: class 'animals' (label 0) has no boxes in train; add some or name those that "
            "count in a labels file, data.labels");
  test::write_text(root / "labels.txt", "cat\ndog\n");
  spec.labels = "labels.txt";
  EXPECT_EQ(open().labels, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(open().class_counts(), (std::vector<int>{2, 1}));
}

TEST_F(CocoTest, PicturesMayLieBesideTheFile) {
  // Roboflow: in the folder of each split. Label Studio: under the names that the file gives from its place.
  fs::create_directories(root / "train");
  for (int i = 0; i < 3; ++i)
    fs::rename(root / "images" / str("p", i, ".jpg"), root / "train" / str("p", i, ".jpg"));
  spec.train = "train/_annotations.coco.json";
  test::write_text(root / spec.train, json.dump());
  EXPECT_EQ(open().samples[1].path, "train/p1.jpg");
  fs::create_directories(root / "images");
  EXPECT_EQ(open().samples[1].path, "train/p1.jpg");
  spec.train = "train.json";
  for (Json& image : json["images"]) image["file_name"] = "train/" + image["file_name"].get<std::string>();
  write();
  EXPECT_EQ(open().samples[1].path, "train/p1.jpg");
  spec.images = "images";
  EXPECT_TRUE(test::contains(error(), "there is no file 'images/train/p0.jpg'")) << error();
}

TEST_F(CocoTest, NumbersAsTablesWriteThem) {
  for (Json& object : json["annotations"]) {
    object["category_id"] = object["category_id"].get<double>();
    object["image_id"] = std::to_string(object["image_id"].get<int>());
  }
  json["annotations"][1]["iscrowd"] = true;
  json["images"][2]["id"] = "5";
  json["images"][2]["width"] = 40;  // without a height it says nothing
  ASSERT_EQ(error(), "");
  const Dataset data = open();
  EXPECT_EQ(data.class_counts(), (std::vector<int>{2, 1}));
  EXPECT_TRUE(data.samples[1].boxes[0].crowd);
  json["images"][2]["id"] = 5.5;
  EXPECT_TRUE(
      test::contains(error(), "image number 3: has no whole number as id, or no file_name; add them"));
}

TEST_F(CocoTest, PicturesThatShareAnIdAreAllLeftOut) {
  json["images"][2]["id"] = 7;
  json["annotations"].push_back({{"id", 10}, {"image_id", 3}, {"category_id", 18}, {"bbox", {1, 2, 3, 4}}});
  const std::string said = error();
  EXPECT_TRUE(test::contains(said, "/train: 2 problems")) << said;
  for (const char* file : {"p0.jpg", "p2.jpg"})
    EXPECT_TRUE(test::contains(said, str("image 7: '", file, "' shares its id with another picture")))
        << said;
  spec.on_error = OnError::kSkip;
  const Dataset data = open();
  ASSERT_EQ(data.size(), 1) << "boxes of two pictures are no truth for either";
  EXPECT_EQ(data.samples[0].path, "images/p1.jpg");
  EXPECT_EQ(data.samples[0].boxes.size(), 2u);
  EXPECT_EQ(data.skipped_pictures(), 2);
}

TEST_F(CocoTest, OtherSplitsMayNumberTheirCategoriesAnew) {
  for (Json& category : json["categories"]) category["id"] = 20 - category["id"].get<int>();
  for (Json& object : json["annotations"]) object["category_id"] = 20 - object["category_id"].get<int>();
  json["categories"].push_back({{"id", 99}, {"name", "fox"}});
  json["images"].erase(2);
  test::write_text(root / "val.json", json.dump());
  const auto messages = [&] {
    std::string all;
    const Json report = check_dataset(spec);
    for (const Json& finding : report["findings"])
      if (finding["kind"] != "leak") all += finding["message"].get<std::string>();
    return all;
  };
  EXPECT_EQ(messages(), "") << "nothing is a fox";
  EXPECT_EQ(check_dataset(spec)["splits"]["val"]["per_class"], Json({2, 1}));
  EXPECT_EQ(check_dataset(spec)["splits"]["train"]["per_class"], Json({2, 1}));
  spec.expected_labels = {"cat", "dog"};
  EXPECT_EQ(open_dataset(spec, Split::kVal).samples[0].boxes[0].label, 1);
  json["annotations"][0]["category_id"] = 99;
  test::write_text(root / "val.json", json.dump());
  EXPECT_TRUE(test::contains(messages(), "val.json: the model does not know class 'fox'")) << messages();
  EXPECT_ERROR(open_dataset(spec, Split::kVal), "the model does not know class 'fox'");
}

TEST_F(CocoTest, AFileCutShortIsOneLine) {
  const std::string whole = json.dump();
  for (size_t length = 0; length < whole.size(); length += 7) {
    test::write_text(root / "train.json", whole.substr(0, length));
    const std::string said = test::message_of([&] { open(); });
    ASSERT_TRUE(test::contains(said, "train.json: is no whole JSON file (parse error at line 1")) << said;
    ASSERT_EQ(said.find('\n'), std::string::npos);
  }
}

TEST_F(CocoTest, WhatIsWrongInItIsSaid) {
  const std::string file = (root / "train.json").string();
  const Json good = json;
  const auto with = [&](const auto& change) {
    json = good;
    change();
    return error();
  };
  EXPECT_EQ(with([&] { json.erase("images"); }),
            file + ": has no list 'images'; a file as of the COCO detection task is expected");
  EXPECT_TRUE(
      test::contains(with([&] {
                       json["annotations"][0]["bbox"] = {1, 2, 3};
                     }),
                     "object 1 (dog on images/p0.jpg) has the box nan, nan, nan, nan, which are not"));
  EXPECT_TRUE(
      test::contains(with([&] {
                       json["annotations"][0]["bbox"] = {1, 2, nullptr, 4};
                     }),
                     "object 1 (dog on images/p0.jpg) has the box 1, 2, nan, 6, which are not four finite"));
  EXPECT_TRUE(test::contains(with([&] {
                               json["annotations"][2]["bbox"] = {5, 5, 0, 4};
                             }),
                             "which has no area"));
  EXPECT_TRUE(test::contains(with([&] {
                               json["annotations"][2]["bbox"] = {50, 5, 5, 4};
                             }),
                             "lies outside of"));
  EXPECT_EQ(
      with([&] { json["annotations"][2]["category_id"] = 99; }),
      file + ": object 9: is of category 99, which is not in 'categories'; add it or correct the annotation");
  EXPECT_EQ(with([&] { json["annotations"][2]["image_id"] = 99; }),
            file + ": object 9: is of image 99, which is not in 'images'; add it or remove the annotation");
  EXPECT_EQ(with([&] { json["images"].push_back(json["images"][2]); }),
            file + ": image 5: is there twice; remove one of the two");
  EXPECT_EQ(with([&] { json["images"][2].erase("file_name"); }),
            file + ": image 5: has no whole number as id, or no file_name; add them");
  EXPECT_EQ(with([&] { json["categories"][0]["id"] = 2; }),
            file + ": two categories have the id 2; give each its own");
  EXPECT_EQ(with([&] {
              json["images"][2].update({{"width", 41}, {"height", 30}});
            }),
            file +
                ": is of a picture of 41x30, but 'images/p2.jpg' has 40x30 pixels (upright); correct the "
                "annotation");
  EXPECT_TRUE(test::contains(with([&] { json["images"][0]["file_name"] = "none.jpg"; }),
                             "image 7: there is no file 'images/none.jpg'"));
  json = good;
  write();
  EXPECT_ERROR(open_dataset(spec, Split::kVal), "val.json: there is no such file of val annotations");
  EXPECT_FALSE(has_split(spec, Split::kVal));
}

TEST(SharedDetectionData, AreReadWhole) {
  const fs::path root = test::shared_path("data");
  if (!fs::exists(root / "insects")) GTEST_SKIP() << "no shared data";
  DataSpec spec{.format = "voc", .root = root / "insects"};
  const Dataset insects = open_dataset(spec, Split::kTrain);
  EXPECT_EQ(insects.size(), 128);
  EXPECT_EQ(insects.class_counts(), (std::vector<int>{30, 42, 32, 35}));
  spec.root = root / "blood_cells";
  spec.check_images = false;
  EXPECT_ERROR(
      open_dataset(spec, Split::kTrain),
      "BloodImage_00343.xml: object 4 (RBC on JPEGImages/BloodImage_00343.jpg) has the box 181, 329, 181, "
      "329, which has no area");
  spec.on_error = OnError::kSkip;
  const Dataset cells = open_dataset(spec, Split::kTrain);
  EXPECT_EQ(cells.size(), 205);
  EXPECT_EQ(cells.skipped.size(), 1u);
  EXPECT_EQ(cells.class_counts(), (std::vector<int>{209, 2381, 214}));
}

}  // namespace

}  // namespace espalier
