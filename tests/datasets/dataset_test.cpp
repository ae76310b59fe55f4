#include "datasets/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "datasets/pictures.h"
#include "support/shared.h"
#include "support/temporary_directory.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;
using test::contains;

/// Two classes, three pictures, one of them with spaces in its name.
struct ImageList : testing::Test {
  test::TemporaryDirectory folder;
  fs::path root = folder.path();
  DataSpec spec{.root = folder.path()};

  void SetUp() override {
    test::write_picture(root / "a.jpg", 1);
    test::write_picture(root / "sub folder/b 2.jpg", 2);
    test::write_picture(root / "c.jpg", 3);
    test::write_text(root / "labels.txt", "carrot\nred onion\n");
    list("a.jpg 0\nsub folder/b 2.jpg 1\nc.jpg 0\n");
  }
  void list(const std::string& text) { test::write_text(root / "train_list.txt", text); }
  std::string error() {
    return test::message_of([&] { open_dataset(spec, Split::kTrain); });
  }
};

TEST_F(ImageList, ReadsPathsWithSpacesAndEveryLineEnding) {
  for (const char* text :
       {"a.jpg 0\nsub folder/b 2.jpg 1\nc.jpg 0\n", "a.jpg 0\r\nsub folder/b 2.jpg 1\r\nc.jpg 0",
        "\xEF\xBB\xBF"
        "a.jpg 0\n\n  sub folder/b 2.jpg\t1  \n\nc.jpg  0\n\n"}) {
    list(text);
    const Dataset data = open_dataset(spec, Split::kTrain);
    ASSERT_EQ(data.size(), 3) << text;
    EXPECT_EQ(data.labels, (std::vector<std::string>{"carrot", "red onion"}));
    EXPECT_EQ(data.samples[1].path, "sub folder/b 2.jpg");
    EXPECT_EQ(data.samples[1].label, 1);
    EXPECT_EQ(data.class_counts(), (std::vector<int>{2, 1}));
    EXPECT_TRUE(fs::exists(data.path(data.samples[1])));
    EXPECT_EQ(data.name, root.filename().string() + "/train");
  }
}

TEST(LikelyFormat, IsTheOneWhoseFilesAreThere) {
  const test::TemporaryDirectory folder;
  const fs::path root = folder.path();
  test::write_text(root / "lists/val_list.txt", "");
  test::write_text(root / "json/train.json", "");
  test::write_text(root / "folders/carrot/a.jpg", "");
  EXPECT_EQ(likely_format("classification", root / "lists"), "image_list");
  EXPECT_EQ(likely_format("classification", root / "folders"), "image_folder");
  EXPECT_EQ(likely_format("detection", root / "lists"), "voc");
  EXPECT_EQ(likely_format("detection", root / "json"), "coco");
  EXPECT_EQ(likely_format("segmentation", root / "lists"), "segmentation_list");
  EXPECT_EQ(likely_format("detection", root / "no such folder"), "voc");
  const auto written = [&](const std::string& line) {
    test::write_text(root / "lists/val_list.txt", "\n" + line + "\r\n");
    return likely_format(root / "lists");
  };
  EXPECT_EQ(written("a.jpg a.xml"), "voc");
  EXPECT_EQ(written("a b.jpg\tm b.png"), "segmentation_list");
  EXPECT_EQ(written("a.jpg 3"), "image_list");
  EXPECT_EQ(written(""), "image_list");
  EXPECT_EQ(likely_format(root / "json"), "coco");
  EXPECT_EQ(likely_format(root / "folders"), "image_folder");
  EXPECT_EQ(likely_format(root / "no such folder"), "image_list");
}

TEST_F(ImageList, SplitsAndNamesOfFiles) {
  EXPECT_TRUE(has_split(spec, Split::kTrain));
  EXPECT_FALSE(has_split(spec, Split::kTest));
  test::write_text(root / "other.txt", "c.jpg 0\n");
  test::write_text(root / "names.txt", "a\nb\n");
  spec.val = "other.txt";
  spec.labels = "names.txt";
  const Dataset data = open_dataset(spec, Split::kVal);
  EXPECT_EQ(data.size(), 1);
  EXPECT_EQ(data.labels[1], "b");
  EXPECT_ERROR(open_dataset(spec, Split::kTest), "test_list.txt: there is no such list of test pictures");
}

TEST_F(ImageList, HashIsOfTheListAndNotOfItsPlace) {
  const uint64_t hash = open_dataset(spec, Split::kTrain).hash;
  const test::TemporaryDirectory elsewhere;
  fs::copy(root, elsewhere.path() / "copy", fs::copy_options::recursive);
  EXPECT_EQ(open_dataset({.root = elsewhere.path() / "copy"}, Split::kTrain).hash, hash);
  list("sub folder/b 2.jpg 1\na.jpg 0\nc.jpg 0\n");
  EXPECT_NE(open_dataset(spec, Split::kTrain).hash, hash);
  list("a.jpg 0\nsub folder/b 2.jpg 1\nc.jpg 1\n");
  EXPECT_NE(open_dataset(spec, Split::kTrain).hash, hash);
}

TEST_F(ImageList, HashIsOfThePicturesTooAndNotOfTheirTimes) {
  const uint64_t hash = open_dataset(spec, Split::kTrain).hash;
  fs::last_write_time(root / "c.jpg", fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_EQ(open_dataset(spec, Split::kTrain).hash, hash);
  test::write_picture(root / "c.jpg", 4);
  EXPECT_NE(open_dataset(spec, Split::kTrain).hash, hash);
}

TEST_F(ImageList, PicturesThatTwoListsShareAreFoundByTheirBytes) {
  fs::copy(root / "c.jpg", root / "copy of c.jpg");
  test::write_picture(root / "d.jpg", 4);
  test::write_text(root / "val_list.txt", "d.jpg 1\ncopy of c.jpg 1\na.jpg 0\n");
  const Dataset train = open_dataset(spec, Split::kTrain), val = open_dataset(spec, Split::kVal);
  EXPECT_EQ(shared_pictures(val, train), (std::vector<std::string>{"copy of c.jpg", "a.jpg"}));
  test::write_text(root / "val_list.txt", "d.jpg 1\n");
  EXPECT_TRUE(shared_pictures(open_dataset(spec, Split::kVal), train).empty());
}

TEST_F(ImageList, HashIsOfAFilesSizeAndEnds) {
  spec.check_images = false;
  const auto hash_with = [&](std::string bytes, size_t at) {
    if (at < bytes.size()) bytes[at] = 'x';
    test::write_text(root / "c.jpg", bytes);
    return open_dataset(spec, Split::kTrain).hash;
  };
  for (const size_t size : {0, 1, 4095, 4096, 4097, 8192, 20000}) {
    SCOPED_TRACE(size);
    const std::string bytes(size, '.');
    const uint64_t hash = hash_with(bytes, size);
    EXPECT_NE(hash_with(bytes + '.', size + 1), hash);
    for (const size_t at : {size_t{0}, size / 2, size - 1}) {
      const bool middle = at >= 4096 && at + 4096 < size;
      if (at < size) {
        EXPECT_EQ(hash_with(bytes, at) == hash, middle) << at;
      }
    }
  }
}

TEST_F(ImageList, FilesThatCannotBeReadAreLeftToTheirReader) {
  spec.check_images = false;
  fs::create_directory(root / "d.jpg");
  list("a.jpg 0\nsub folder/b 2.jpg 1\nd.jpg 0\n");
  const std::vector<DataProblem> found = find_unreadable(open_dataset(spec, Split::kTrain));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(contains(found[0].message, "d.jpg: is a folder, a file was expected"));
}

TEST_F(ImageList, BadLinesSayWhereAndWhatToDo) {
  const std::string at = (root / "train_list.txt").string() + ":2: ";
  const auto with = [&](const std::string& line) {
    list("a.jpg 0\n" + line + "\nsub folder/b 2.jpg 1\n");
    return error();
  };
  EXPECT_EQ(with("c.jpg"), at + "'c.jpg' has no label; write 'relative/path label'");
  EXPECT_EQ(with("c.jpg x"),
            at + "'x' is no label; a whole number in 0 .. 1 is expected after the last space");
  EXPECT_EQ(with("c.jpg 0.5"),
            at + "'0.5' is no label; a whole number in 0 .. 1 is expected after the last space");
  EXPECT_EQ(with("c.jpg carrot"), at + "label 'carrot' is a name; write its number, 0");
  for (const char* label : {"2", "-1", "99999999999"})
    EXPECT_EQ(
        with(std::string("c.jpg ") + label),
        at + "label " + label +
            " is out of range: labels.txt names 2 classes, so 0 .. 1; correct the label or add its class");
  EXPECT_EQ(with("none.jpg 0"),
            at + "there is no file 'none.jpg' in " + root.string() + "; correct the path or remove the line");
  EXPECT_TRUE(contains(with("sub folder\\b 2.jpg 0"), "write the path with / instead of \\"));
  EXPECT_EQ(with("./a.jpg 0"), at + "'./a.jpg' is already in " + (root / "train_list.txt").string() +
                                   ":1; remove one of the two lines");
  EXPECT_TRUE(contains(with("a.jpg 1"), "with label 0, here with 1; keep the right one"));
}

TEST_F(ImageList, OtherTextThanUtf8IsSaidBeforeAModelWouldHoldIt) {
  test::write_text(root / "labels.txt", "carrot\nk\xE4se\n");
  EXPECT_ERROR(open_dataset(spec, Split::kTrain),
               "labels.txt:2: is no UTF-8 text; save the file as UTF-8, and name its pictures alike");
  test::write_text(root / "labels.txt", "carrot\nk\xC3\xA4se\n");
  EXPECT_EQ(open_dataset(spec, Split::kTrain).labels[1], "k\xC3\xA4se");
  fs::rename(root / "c.jpg", root / "caf\xE9.jpg");
  list("a.jpg 0\nsub folder/b 2.jpg 1\ncaf\xE9.jpg 0\n");
  EXPECT_ERROR(open_dataset(spec, Split::kTrain), "train_list.txt:3: is no UTF-8 text");
}

TEST_F(ImageList, SeveralProblemsAreAllListed) {
  list("a.jpg 0\nc.jpg\nnone.jpg 0\nsub folder/b 2.jpg 7\n");
  const std::string said = error();
  EXPECT_TRUE(
      contains(said, "/train: 4 problems; correct them, or go without these with data.on_error: skip\n"));
  for (const char* part : {"train_list.txt:2: ", "train_list.txt:3: ", "train_list.txt:4: ",
                           "class 'red onion' (label 1) has no pictures in train"})
    EXPECT_TRUE(contains(said, part)) << part;
}

TEST_F(ImageList, UnreadablePicturesStopAndAreAllListed) {
  test::write_text(root / "empty.jpg", "");
  test::write_text(root / "text.jpg", "not a picture");
  const std::string whole = read_file(root / "a.jpg");
  test::write_text(root / "cut.jpg", whole.substr(0, whole.size() / 2));
  list("a.jpg 0\nempty.jpg 0\nsub folder/b 2.jpg 1\ntext.jpg 1\ncut.jpg 0\n");
  const std::string said = error();
  EXPECT_TRUE(contains(said, "3 problems"));
  EXPECT_TRUE(contains(said, "empty.jpg: the file is empty"));
  EXPECT_TRUE(contains(said, "text.jpg: is no JPEG, PNG or BMP picture"));
  EXPECT_TRUE(contains(said, "cut.jpg: the JPEG file is cut off"));

  spec.on_error = OnError::kSkip;
  const Dataset data = open_dataset(spec, Split::kTrain);
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(data.samples[1].path, "sub folder/b 2.jpg");
  ASSERT_EQ(data.skipped.size(), 3u);
  EXPECT_EQ(data.skipped[0].path, "empty.jpg");
  EXPECT_EQ(data.skipped[2].kind, "unreadable");

  list("a.jpg 0\nsub folder/b 2.jpg 1\n");  // the same data without the bad ones: training is the same
  EXPECT_EQ(open_dataset({.root = root}, Split::kTrain).hash, data.hash);

  spec = {.root = root, .check_images = false};
  list("empty.jpg 0\nsub folder/b 2.jpg 1\n");
  const Dataset unchecked = open_dataset(spec, Split::kTrain);
  const std::vector<DataProblem> found = find_unreadable(unchecked);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].path, "empty.jpg");
}

TEST_F(ImageList, EmptyThings) {
  list("\n\n");
  EXPECT_TRUE(contains(error(), "has no pictures in train"));
  test::write_text(root / "val_list.txt", "\n");
  EXPECT_ERROR(open_dataset(spec, Split::kVal), "val_list.txt: lists no pictures; add some");
  list("a.jpg 0\n");
  EXPECT_EQ(
      error(),
      "train_list.txt: class 'red onion' (label 1) has no pictures in train; add some or remove the class");
  test::write_text(root / "val_list.txt", "a.jpg 0\n");
  EXPECT_NO_THROW(open_dataset(spec, Split::kVal));  // evaluation may lack a class
  spec.on_error = OnError::kSkip;
  list("none.jpg 0\n");
  EXPECT_TRUE(contains(error(), "none of its pictures can be used; the first: "));
}

TEST_F(ImageList, MissingThings) {
  spec.root = root / "none";
  EXPECT_TRUE(contains(error(), "none: there is no such folder; set data.root"));
  spec.root = root / "a.jpg";
  EXPECT_TRUE(contains(error(), "a.jpg: is a file; set data.root"));
  spec.root = root;
  spec.format = "image_lists";
  EXPECT_EQ(error(), "data.format 'image_lists' is unknown; did you mean 'image_list'?");
  spec.format = "image_list";
  fs::remove(root / "train_list.txt");
  EXPECT_TRUE(contains(error(), "train_list.txt: there is no such list of train pictures"));
  fs::remove(root / "labels.txt");
  EXPECT_TRUE(contains(error(), "labels.txt: there is no labels file; write one"));
  test::write_text(root / "labels.txt", "");
  EXPECT_TRUE(contains(error(), "labels.txt: is empty"));
  test::write_text(root / "labels.txt", "a\n\nb\n");
  EXPECT_TRUE(contains(error(), "labels.txt:2: the line is empty"));
  EXPECT_ERROR(on_error_from_name("ignore"), "stop and skip are known");
}

TEST_F(ImageList, LabelsOfTheModel) {
  spec.expected_labels = {"carrot", "red onion"};
  EXPECT_EQ(error(), "");
  spec.expected_labels = {"carrot", "leek"};
  EXPECT_TRUE(contains(error(), "class 1 is 'red onion' in the data but 'leek' in the model"));
  spec.expected_labels = {"carrot"};
  EXPECT_TRUE(contains(error(), "the data name 2 classes, but the model knows 1"));
}

struct ImageFolder : testing::Test {
  test::TemporaryDirectory folder;
  fs::path root = folder.path() / "set";
  DataSpec spec{.format = "image_folder", .root = folder.path() / "set"};
};

TEST_F(ImageFolder, WithSplitFolders) {
  for (int i = 0; i < 4; ++i) test::write_picture(root / "train/onion" / str(i, ".jpg"), i);
  test::write_picture(root / "train/carrot/x.JPG", 8);
  test::write_picture(root / "train/carrot/deeper/y.jpg", 9);
  test::write_picture(root / "val/onion/z.jpg", 10);
  test::write_text(root / "train/onion/notes.txt", "x");
  test::write_text(root / "train/onion/.hidden.jpg", "x");
  test::write_picture(root / "train/onion/.ipynb_checkpoints/0-checkpoint.jpg", 0);
  const Dataset data = open_dataset(spec, Split::kTrain);
  EXPECT_EQ(data.labels, (std::vector<std::string>{"carrot", "onion"}));
  ASSERT_EQ(data.size(), 6);
  EXPECT_EQ(data.samples[0].path, "train/carrot/deeper/y.jpg");
  EXPECT_EQ(data.ignored, std::vector<std::string>{"train/onion/notes.txt"});
  EXPECT_EQ(data.name, "set/train");
  const Dataset val = open_dataset(spec, Split::kVal);
  ASSERT_EQ(val.size(), 1);
  EXPECT_EQ(val.samples[0].label, 1);
  EXPECT_FALSE(has_split(spec, Split::kTest));

  test::write_picture(root / "val/leek/z.jpg", 10);
  EXPECT_ERROR(open_dataset(spec, Split::kVal), "class 'leek' has no folder under train");
  fs::create_directories(root / "train/turnip");
  EXPECT_ERROR(open_dataset(spec, Split::kTrain), "class 'turnip' (label 2) has no pictures in train");
}

TEST_F(ImageFolder, LinksToFoldersAreFollowedButNotInCircles) {
  test::write_picture(root / "train/onion/a.jpg", 1);
  test::write_picture(root / "train/carrot/b.jpg", 2);
  test::write_picture(folder.path() / "elsewhere/c.jpg", 3);
  fs::create_directory_symlink(folder.path() / "elsewhere", root / "train/carrot/more");
  for (const char* upwards : {".", "..", "../.."})
    fs::create_directory_symlink(upwards, root / str("train/carrot/up", std::strlen(upwards)));
  const Dataset data = open_dataset(spec, Split::kTrain);
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data.samples[1].path, "train/carrot/more/c.jpg");
}

TEST_F(ImageFolder, NamesAreUtf8) {
  test::write_picture(root / "train/onion/a.jpg", 1);
  test::write_picture(root / "train/carrot/b.jpg", 2);
  test::write_picture(root / "train/carrot/caf\xE9.jpg", 3);
  EXPECT_ERROR(open_dataset(spec, Split::kTrain), "carrot/caf\xE9.jpg' is no UTF-8 text; rename the file");
  spec.on_error = OnError::kSkip;
  EXPECT_EQ(open_dataset(spec, Split::kTrain).size(), 2);
  fs::rename(root / "train/onion", root / "train/k\xE4se");
  EXPECT_ERROR(open_dataset(spec, Split::kTrain), "train/k\xE4se: its name is no UTF-8 text");
}

TEST_F(ImageFolder, WithoutSplitFoldersEachClassIsSplitByHash) {
  for (int i = 0; i < 20; ++i) test::write_picture(root / "onion" / str(i, ".jpg"), i);
  for (int i = 0; i < 10; ++i) test::write_picture(root / "carrot" / str(i, ".jpg"), 30 + i);
  test::write_picture(root / "leek/only.jpg", 99);
  spec.val_share = 0.3;
  spec.test_share = 0.1;
  std::set<std::string> all;
  std::vector<std::vector<int>> counts;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    const Dataset data = open_dataset(spec, split);
    for (const Sample& sample : data.samples) EXPECT_TRUE(all.insert(sample.path).second) << sample.path;
    counts.push_back(data.class_counts());
    EXPECT_EQ(open_dataset(spec, split).hash, data.hash);
  }
  EXPECT_EQ(all.size(), 31u);
  EXPECT_EQ(counts[0], (std::vector<int>{6, 1, 12}));  // carrot, leek, onion
  EXPECT_EQ(counts[1], (std::vector<int>{3, 0, 6}));
  EXPECT_EQ(counts[2], (std::vector<int>{1, 0, 2}));
  const Dataset val = open_dataset(spec, Split::kVal);
  EXPECT_NE(val.samples[0].path, "carrot/0.jpg");  // by hash, not the first of the folder
  spec.test_share = 0.8;
  EXPECT_ERROR(open_dataset(spec, Split::kTrain), "must be at least 0 and leave something for training");
}

TEST_F(ImageFolder, RefusesHalfALayout) {
  test::write_picture(root / "val/onion/z.jpg", 10);
  EXPECT_ERROR(open_dataset(spec, Split::kTrain), "has a folder 'val' but none 'train'");
  fs::create_directories(root / "train");
  EXPECT_ERROR(open_dataset(spec, Split::kTrain), "has no class folders");
  test::write_picture(root / "train/onion/z.jpg", 10);
  EXPECT_ERROR(open_dataset(spec, Split::kTest), "there is no such folder of test pictures");
}

TEST_F(ImageFolder, ModelsLabelsGiveTheNumbers) {
  test::write_picture(root / "train/onion/a.jpg", 10);
  test::write_picture(root / "train/carrot/a.jpg", 11);
  spec.expected_labels = {"onion", "leek", "carrot"};
  const Dataset data = open_dataset(spec, Split::kTrain);
  EXPECT_EQ(data.labels, spec.expected_labels);
  EXPECT_EQ(data.samples[0].label, 2);  // carrot
  EXPECT_EQ(data.samples[1].label, 0);
  spec.expected_labels = {"onion", "carot"};
  EXPECT_ERROR(open_dataset(spec, Split::kTrain), "does not know class 'carrot'; did you mean 'carot'?");
}

TEST(Subset, KeepsProportionsAndIsReproducible) {
  Dataset data;
  data.labels = {"a", "b"};
  for (int i = 0; i < 100; ++i) data.samples.push_back({str(i, ".jpg"), i < 80 ? 0 : 1});
  const Dataset part = subset(data, 25, 3);
  EXPECT_EQ(part.class_counts(), (std::vector<int>{20, 5}));
  EXPECT_EQ(subset(data, 25, 3).hash, part.hash);
  EXPECT_NE(subset(data, 25, 4).hash, part.hash);
  EXPECT_TRUE(std::is_sorted(part.samples.begin(), part.samples.end(), [](const Sample& a, const Sample& b) {
    return std::stoi(a.path) < std::stoi(b.path);
  }));
  EXPECT_EQ(subset(data, 1000, 3).size(), 100);
}

TEST(SharedData, Vegetables) {
  const fs::path root = test::shared_path("data/vegetables");
  if (!fs::exists(root)) GTEST_SKIP() << "no shared data";
  const DataSpec spec{.root = root, .check_images = false};
  EXPECT_EQ(open_dataset(spec, Split::kTrain).size(), 719);
  EXPECT_EQ(open_dataset(spec, Split::kVal).size(), 273);
  EXPECT_EQ(open_dataset(spec, Split::kTest).size(), 314);
  EXPECT_EQ(open_dataset(spec, Split::kTrain).labels.size(), 15u);
}

}  // namespace

}  // namespace espalier
