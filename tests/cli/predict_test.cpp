// The predict and evaluate commands on detectors and segmenters with random weights.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/interrupt.h"
#include "command_line.h"
#include "io/file.h"
#include "io/image.h"
#include "io/index_png.h"
#include "io/model_file.h"
#include "models/model_table.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using test::run;

/// A picture of stripes, wider than high.
void write_picture(const std::string& path, int width, int height) {
  Image image(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) image.at(x, y)[(x / 7 + y / 5) % 3] = 200;
  fs::create_directories(fs::path(path).parent_path());
  write_jpeg(path, image);
}

std::string write_model(const std::string& path, const std::string& name, int classes,
                        const Json& task_options = Json::object()) {
  const ModelSpec spec{name, classes, {{"width", 0.0625}}};
  Model model;
  model.graph = build_model(spec, 64, 3);
  model.task = find_model(name).task;
  for (int k = 0; k < classes; ++k) model.labels.push_back("kind " + std::to_string(k));
  model.architecture = complete_spec(spec);
  model.task_options = task_options;
  model.preprocessing =
      Json::array({{{"name", "resize"}, {"width", 64}, {"height", 64}}, {{"name", "normalize"}}});
  model.metrics = Json::object();
  model.lineage = Json::array();
  save_model(path, model);
  return path;
}

struct PredictTest : ::testing::Test {
  test::Folder folder;
  std::string pictures = folder / "pictures";

  void SetUp() override {
    write_picture(pictures + "/a.jpg", 90, 50);
    write_picture(pictures + "/more/a.jpg", 70, 80);
  }
};

TEST_F(PredictTest, DetectorsDrawBoxesAndWriteCocoResults) {
  const std::string model = write_model(folder / "det.safetensors", "yolov3_mobilenet_v1", 3);
  const test::Ran ran =
      run({"predict", model, pictures, "--out", folder / "out", "--threshold", "0.1", "--json"});
  ASSERT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.json().at("predictions").size(), 2u);
  EXPECT_EQ(ran.json().at("predictions")[1].at("drawn"), "a.2.jpg") << "two pictures of one name";
  const Json list = Json::parse(read_file(folder / "out/predictions.json"));
  ASSERT_FALSE(list.empty());
  for (const Json& found : list) {
    const double width = found.at("image_id") == 0 ? 90 : 70, height = found.at("image_id") == 0 ? 50 : 80;
    const Json& box = found.at("bbox");
    EXPECT_GE(box[0].get<double>(), 0);
    EXPECT_LE(box[0].get<double>() + box[2].get<double>(), width + 2e-3);
    EXPECT_LE(box[1].get<double>() + box[3].get<double>(), height + 2e-3);
    EXPECT_GT(found.at("score").get<double>(), 0.01);
    EXPECT_LT(found.at("category_id").get<int>(), 3);
  }
  const Image drawn = read_image(folder / "out/a.jpg"), plain = read_image(pictures + "/a.jpg");
  EXPECT_EQ(drawn.width, 90);
  EXPECT_EQ(drawn.height, 50);
  EXPECT_FALSE(drawn == plain);
  // Options of the model file, and those of the command line above them.
  const auto boxes = [&](const std::string& file, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"predict", file, pictures + "/a.jpg", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments).json().at("predictions")[0].at("best").size();
  };
  const std::string few =
      write_model(folder / "few.safetensors", "yolov3_mobilenet_v1", 3, {{"keep_top_k", 5}});
  EXPECT_EQ(boxes(few, {}), 5u);
  EXPECT_EQ(boxes(few, {"--set", "task.keep_top_k=3"}), 3u);
}

TEST_F(PredictTest, ResultsTakeTheNumbersOfACocoFile) {
  const std::string model = write_model(folder / "det.safetensors", "yolov3_mobilenet_v1", 2);
  const std::string coco = folder / "val.json";
  const auto write = [&](const Json& images, const Json& categories) {
    std::ofstream(coco) << Json{
        {"images", images}, {"categories", categories}, {"annotations", Json::array()}};
  };
  const Json images = {{{"id", 70}, {"file_name", "more/a.jpg"}},
                       {{"id", 41}, {"file_name", "pictures/a.jpg"}}};
  const Json kinds = {
      {{"id", 9}, {"name", "kind 0"}}, {{"id", 3}, {"name", "kind 1"}}, {{"id", 5}, {"name", "x"}}};
  const auto predict = [&](const std::vector<std::string>& paths) {
    std::vector<std::string> arguments = {"predict", model, "--out", folder / "out",
                                          "--coco",  coco,  "--json"};
    arguments.insert(arguments.end(), paths.begin(), paths.end());
    return run(arguments);
  };
  write(images, kinds);
  const test::Ran ran = predict({pictures});
  ASSERT_EQ(ran.code, kOk) << ran.err;
  std::set<int> seen;
  for (const Json& found : Json::parse(read_file(folder / "out/predictions.json"))) {
    const bool first = found.at("file_name") == pictures + "/a.jpg";
    EXPECT_EQ(found.at("image_id"), first ? 41 : 70);
    EXPECT_EQ(found.at("category_id"), found.at("category") == "kind 0" ? 9 : 3);
    seen.insert(found.at("image_id").get<int>());
    seen.insert(found.at("category_id").get<int>());
  }
  EXPECT_EQ(seen, (std::set<int>{3, 9, 41, 70}));
  const auto expect_error = [&](const std::vector<std::string>& paths, const std::string& part) {
    const test::Ran failed = predict(paths);
    EXPECT_EQ(failed.code, kBadInput);
    EXPECT_NE(failed.err.find(part), std::string::npos) << failed.err;
    EXPECT_EQ(std::count(failed.err.begin(), failed.err.end(), '\n'), 1) << failed.err;
  };
  write_picture(folder / "other/b.jpg", 30, 30);
  expect_error({pictures, folder / "other"}, "other/b.jpg: " + coco + " has no image of this file_name");
  fs::create_directories(folder / "other");
  fs::copy(pictures + "/a.jpg", folder / "other/a.jpg");
  expect_error({folder / "other/a.jpg"}, "has several images of this name");
  write(images, {kinds[0], {{"id", 3}, {"name", "kind one"}}});
  expect_error({pictures}, coco + ": has no category 'kind 1', which the model knows; did you mean");
  // One image of a name is it whatever its folder.
  write(Json::array({images[0]}), kinds);
  EXPECT_EQ(predict({folder / "other/a.jpg"}).json().at("predictions")[0].at("image_id"), 70);
  const std::string masks = write_model(folder / "seg.safetensors", "unet", 2);
  const test::Ran wrong = run({"predict", masks, pictures, "--coco", coco});
  EXPECT_EQ(wrong.code, kBadInput);
  EXPECT_NE(wrong.err.find("--coco numbers boxes"), std::string::npos) << wrong.err;
}

TEST_F(PredictTest, SegmentersWriteMasksOfThePicturesSize) {
  const std::string model = write_model(folder / "seg.safetensors", "unet", 2);
  const test::Ran ran = run({"predict", model, pictures, "--out", folder / "out", "--json"});
  ASSERT_EQ(ran.code, kOk) << ran.err;
  const IndexImage mask = read_index_png(folder / "out/a.2.png");
  EXPECT_EQ(mask.width, 70);
  EXPECT_EQ(mask.height, 80);
  const double share = static_cast<double>(std::count(mask.values.begin(), mask.values.end(), 1)) / (70 * 80);
  for (const Json& found : ran.json().at("predictions")[1].at("best")) {
    if (found.at("category_id") == 1) {
      EXPECT_DOUBLE_EQ(found.at("share").get<double>(), share);
    }
  }
  EXPECT_TRUE(fs::exists(folder / "out/a.jpg"));
  const test::Ran tiled =
      run({"predict", model, pictures, "--out", folder / "tiles", "--tile", "32", "--pad", "16"});
  ASSERT_EQ(tiled.code, kOk) << tiled.err;
  EXPECT_EQ(read_index_png(folder / "tiles/a.png").width, 90);
}

TEST_F(PredictTest, WhatOthersWroteIsNotWrittenOver) {
  const std::string model = write_model(folder / "seg.safetensors", "unet", 2), masks = folder / "masks";
  fs::create_directories(masks);
  std::ofstream(masks + "/a.png") << "a mask that somebody drew";
  const std::vector<std::string> predict = {"predict", model, pictures, "--out", masks};
  const test::Ran refused = run(predict);
  EXPECT_EQ(refused.code, kBadInput);
  EXPECT_NE(refused.err.find("masks/a.png: is there already"), std::string::npos) << refused.err;
  EXPECT_EQ(read_file(masks + "/a.png"), "a mask that somebody drew");
  fs::remove(masks + "/a.png");
  std::ofstream(masks + "/predictions.json") << "{\"mine\": true}";
  EXPECT_EQ(run(predict).code, kBadInput);
  EXPECT_EQ(read_file(masks + "/predictions.json"), "{\"mine\": true}");
  fs::remove(masks + "/predictions.json");
  EXPECT_EQ(run(predict).code, kOk);
  EXPECT_EQ(run(predict).code, kOk) << "a second run writes what the first one wrote";
}

TEST_F(PredictTest, EachPictureOnceAndNothingHidden) {
  const std::string model = write_model(folder / "seg.safetensors", "unet", 2);
  write_picture(pictures + "/.thumbnails/a.jpg", 30, 30);
  write_picture(pictures + "/._a.jpg", 30, 30);
  const test::Ran ran =
      run({"predict", model, pictures + "/more/../a.jpg", pictures, pictures + "/a.jpg", "--json"});
  ASSERT_EQ(ran.code, kOk) << ran.err;
  ASSERT_EQ(ran.json().at("predictions").size(), 2u);
  EXPECT_EQ(ran.json().at("predictions")[1].at("image"), pictures + "/more/a.jpg");
}

TEST_F(PredictTest, WhatWasSeenBeforeAnInterruptIsListed) {
  const std::string model = write_model(folder / "det.safetensors", "yolov3_mobilenet_v1", 3);
  struct InterruptAfterALine : std::stringbuf {
    int sync() override {
      request_interrupt();
      return 0;
    }
  } buffer;
  std::ostream out(&buffer);
  std::ostringstream err;
  EXPECT_EQ(run_command_line({"predict", model, pictures, "--out", folder / "out"}, out, err), kInterrupted);
  request_interrupt(false);
  EXPECT_NE(err.str().find("interrupted before " + pictures + "/more/a.jpg"), std::string::npos) << err.str();
  const Json list = Json::parse(read_file(folder / "out/predictions.json"));
  ASSERT_FALSE(list.empty());
  for (const Json& found : list) EXPECT_EQ(found.at("file_name"), pictures + "/a.jpg");
}

TEST_F(PredictTest, ANameThatJsonCannotHoldCostsNoOtherPicture) {
  const std::string model = write_model(folder / "seg.safetensors", "unet", 2);
  write_picture(pictures + "/caf\xE9.jpg", 30, 30);
  const test::Ran ran = run({"predict", model, pictures, "--out", folder / "out", "--json"});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_NE(ran.err.find("caf\xE9.jpg: its name is no UTF-8 text"), std::string::npos) << ran.err;
  EXPECT_EQ(ran.json().at("predictions").size(), 2u);
  EXPECT_EQ(ran.json().at("errors").size(), 1u);
  EXPECT_FALSE(Json::parse(read_file(folder / "out/predictions.json")).empty());
}

TEST_F(PredictTest, APictureThatCannotBePreparedIsNamed) {
  const std::string file = write_model(folder / "m.safetensors", "mobilenet_v2", 3);
  Model model = load_model(file);
  model.preprocessing = Json::array({{{"name", "resize_short"}, {"size", 64}},
                                     {{"name", "center_crop"}, {"size", 64}},
                                     {{"name", "normalize"}}});
  save_model(file, model);
  write_picture(pictures + "/line.jpg", 60'000, 1);
  const test::Ran ran = run({"predict", file, pictures});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_NE(ran.err.find("in " + pictures + "/line.jpg: resize_short: a picture of 60000x1"),
            std::string::npos)
      << ran.err;
  EXPECT_NE(ran.out.find("more/a.jpg:"), std::string::npos) << ran.out;
}

TEST_F(PredictTest, EvaluatePrintsATableOfTheClasses) {
  const std::string model = write_model(folder / "seg.safetensors", "unet", 2);
  std::ofstream(pictures + "/val_list.txt") << "a.jpg a.png\n";
  std::ofstream(pictures + "/labels.txt") << "kind 0\nkind 1\n";
  IndexImage mask{90, 50, std::vector<uint16_t>(90 * 50)};
  std::fill(mask.values.begin() + 900, mask.values.begin() + 1800, uint16_t{1});
  write_index_png(pictures + "/a.png", mask, voc_palette());
  const test::Ran ran =
      run({"evaluate", model, "--data", pictures, "--set", "data.format=segmentation_list"});
  ASSERT_EQ(ran.code, kOk) << ran.err;
  EXPECT_NE(ran.out.find("miou %"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("3600"), std::string::npos) << ran.out;
}

TEST_F(PredictTest, EvaluateWritesTheCurvesOfADetector) {
  const std::string model = write_model(folder / "det.safetensors", "yolov3_mobilenet_v1", 2);
  std::ofstream(pictures + "/val_list.txt") << "a.jpg a.xml\n";
  std::ofstream(pictures + "/labels.txt") << "kind 0\nkind 1\n";
  std::ofstream(pictures + "/a.xml")
      << "<annotation><filename>a.jpg</filename><size><width>90</width><height>50</height><depth>3</depth>"
         "</size><object><name>kind 1</name><difficult>0</difficult><bndbox><xmin>10</xmin><ymin>10</ymin>"
         "<xmax>60</xmax><ymax>40</ymax></bndbox></object></annotation>\n";
  const test::Ran ran = run(
      {"evaluate", model, "--data", pictures, "--set", "data.format=voc", "--curves", folder / "curves.csv"});
  ASSERT_EQ(ran.code, kOk) << ran.err;
  EXPECT_NE(ran.out.find("map %"), std::string::npos) << ran.out;
  const std::string curves = read_file(folder / "curves.csv");
  EXPECT_TRUE(curves.starts_with("class,recall,precision,score\n")) << curves;
  EXPECT_NE(curves.find("kind 1,"), std::string::npos);
}

TEST_F(PredictTest, WhatCannotBeDoneIsSaidInOneLine) {
  const std::string det = write_model(folder / "det.safetensors", "yolov3_mobilenet_v1", 3);
  const auto complaint = [](const std::vector<std::string>& arguments) {
    const test::Ran ran = run(arguments);
    EXPECT_EQ(ran.code, kBadInput) << ran.out;
    return ran.err;
  };
  const auto expect_says = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect_says(complaint({"predict", det, pictures + "/a.jpg", "--out", pictures}), "name another one");
  expect_says(complaint({"predict", det, pictures, "--tile", "32"}), "is a model for detection");
  expect_says(complaint({"predict", det, pictures, "--threshold", "2"}), "--threshold");
  expect_says(complaint({"predict", det, pictures, "--set", "task.keep_top_k=0"}), "task.keep_top_k");
  expect_says(complaint({"predict", det, pictures, "--set", "task.losses=[dice]"}),
              "detection: unknown option 'losses'");
  std::ofstream(folder / "file") << "x";
  expect_says(complaint({"predict", det, pictures, "--out", folder / "file"}), "is no folder");
}

}  // namespace
}  // namespace espalier
