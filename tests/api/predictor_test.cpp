// The door for programs of one's own: the same answers whichever way pictures come in.

#include "api/predictor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "datasets/transforms.h"
#include "io/image.h"
#include "io/model_file.h"
#include "models/model_table.h"
#include "runtime/session.h"
#include "support/messages.h"
#include "support/temporary_directory.h"
#include "tensor/allocator.h"

namespace espalier {
using test::contains;
using test::message_of;

namespace {

const Json kPreprocessing =
    Json::array({{{"name", "resize"}, {"width", 64}, {"height", 64}}, {{"name", "normalize"}}});

Image striped(int width, int height, int phase = 0) {
  Image image(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) image.at(x, y)[(x / 7 + y / 5 + phase) % 3] = 200;
  return image;
}

Pixels pixels_of(const Image& image) { return {image.width, image.height, image.pixels.data()}; }

struct PredictorTest : ::testing::Test {
  test::TemporaryDirectory folder;

  std::string model_file(const std::string& name, int classes, const Json& preprocessing = kPreprocessing) {
    const ModelSpec spec{name, classes, name == "mobilenet_v2" ? Json::object() : Json{{"width", 0.0625}}};
    Model model;
    model.graph = build_model(spec, 64, 3);
    model.task = find_model(name).task;
    for (int k = 0; k < classes; ++k) model.labels.push_back("kind " + std::to_string(k));
    model.architecture = complete_spec(spec);
    model.preprocessing = preprocessing;
    std::string file = (folder.path() / (name + ".safetensors")).string();
    save_model(file, model);
    return file;
  }
};

std::vector<double> scores(const Prediction& prediction) {
  std::vector<double> all;
  for (const ClassScore& c : prediction.classes) all.push_back(c.score);
  return all;
}

std::vector<int> labels(const Prediction& prediction) {
  std::vector<int> all;
  for (const ClassScore& c : prediction.classes) all.push_back(c.label);
  return all;
}

TEST_F(PredictorTest, SeesWhatTheNetworkSays) {
  const std::string file = model_file("mobilenet_v2", 7);
  Predictor predictor(file, {.device = "cpu"});
  EXPECT_EQ(predictor.task(), "classification");
  EXPECT_EQ(predictor.device(), "cpu");
  EXPECT_EQ(predictor.labels().at(6), "kind 6");
  const Image image = striped(90, 50);
  const Prediction seen = predictor.predict(pixels_of(image));
  const Tensors logits = Session(load_model(file).graph).run({Pipeline(kPreprocessing)(image)});
  ASSERT_EQ(seen.classes.size(), 5u);
  const float* x = logits[0].f32();
  for (size_t i = 1; i < 5; ++i) {
    const ClassScore &best = seen.classes[0], &other = seen.classes[i];
    EXPECT_NEAR(std::log(best.score / other.score), x[best.label] - x[other.label], 1e-5);
    EXPECT_GE(best.score, other.score);
  }
}

TEST_F(PredictorTest, EveryWayInIsTheSame) {
  Predictor predictor(model_file("mobilenet_v2", 7), {.device = "cpu"});
  const Image image = striped(90, 50), another = striped(70, 80, 1);
  const Prediction seen = predictor.predict(pixels_of(image));
  // Rows that are longer than their pixels, as cameras and other libraries have them.
  const size_t row = 90 * 3, step = row + 34;
  std::vector<uint8_t> padded(step * 50, 255);
  for (int y = 0; y < 50; ++y)
    std::copy_n(image.at(0, y), row, padded.begin() + static_cast<int64_t>(step) * y);
  EXPECT_EQ(scores(predictor.predict({90, 50, padded.data(), step})), scores(seen));
  const std::string file = (folder.path() / "a.png").string();
  write_png(file, image);
  EXPECT_EQ(scores(predictor.predict_file(file)), scores(seen));
  // Together, of different sizes: each as it would be alone.
  const Prediction other = predictor.predict(pixels_of(another));
  const std::vector<Pixels> both = {pixels_of(another), pixels_of(image)};
  const std::vector<Prediction> together = predictor.predict(both);
  ASSERT_EQ(together.size(), 2u);
  EXPECT_NE(scores(other), scores(seen));
  EXPECT_EQ(labels(together[0]), labels(other));
  EXPECT_EQ(labels(together[1]), labels(seen));
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(together[0].classes[i].score, other.classes[i].score, 1e-6);
    EXPECT_NEAR(together[1].classes[i].score, seen.classes[i].score, 1e-6);
  }
  EXPECT_TRUE(predictor.predict(std::span<const Pixels>()).empty());
}

TEST_F(PredictorTest, BoxesAndMasksAreInThePicturesPixels) {
  const Image image = striped(90, 50), large = striped(300, 40);
  const std::vector<Pixels> both = {pixels_of(image), pixels_of(large)};
  const std::string detector = model_file("yolov3_mobilenet_v1", 3);
  Predictor detect(detector, {.device = "cpu"}),
      few(detector, {.device = "cpu", .task_options = R"({"keep_top_k": 4})"});
  const std::vector<Prediction> found = detect.predict(both);
  float furthest = 0;
  for (const ObjectBox& box : found.at(1).boxes) furthest = std::max(furthest, box.x1);
  EXPECT_GT(furthest, 150) << "boxes reach the right half of the larger picture";
  EXPECT_LE(furthest, 300 + 1e-3);
  ASSERT_GT(found.at(0).boxes.size(), 4u);
  EXPECT_EQ(few.predict(pixels_of(image)).boxes.size(), 4u) << "its options are above the file's";
  Predictor segment(model_file("unet", 3), {.device = "cpu"});
  const std::vector<Prediction> masks = segment.predict(both);
  EXPECT_EQ(masks.at(1).mask.width, 300);
  EXPECT_EQ(masks.at(1).mask.height, 40);
  EXPECT_EQ(masks.at(0).mask.classes.size(), 90u * 50u);
}

TEST_F(PredictorTest, WhatCannotBeIsSaid) {
  const std::string file = model_file("mobilenet_v2", 3);
  const auto opening = [&](const PredictorOptions& options) {
    return message_of([&] { Predictor(file, options); });
  };
  EXPECT_EQ(opening({.device = "gpu"}), "device is 'gpu'; expected auto, cpu, cuda or cuda:N");
  EXPECT_TRUE(contains(opening({.precision = "fp8"}), "precision is 'fp8'; expected"));
  EXPECT_TRUE(contains(opening({.threads = -1}), "threads is -1"));
  EXPECT_TRUE(contains(opening({.task_options = "top"}), "a JSON object is expected"));
  EXPECT_TRUE(contains(opening({.task_options = R"({"top": 1})"}), "'top'"));
  EXPECT_TRUE(contains(message_of([&] { Predictor(folder.path() / "none"); }), "none"));
  const std::string random =
      model_file("mobilenet_v2", 3,
                 Json::array({{{"name", "random_horizontal_flip"}}, kPreprocessing[0], kPreprocessing[1]}));
  EXPECT_TRUE(contains(message_of([&] { Predictor{random}; }), "its preprocessing is random"));

  Predictor predictor(model_file("mobilenet_v2", 3), {.device = "cpu"});
  const Image image = striped(90, 50);
  const auto asking = [&](const Pixels& picture) { return message_of([&] { predictor.predict(picture); }); };
  EXPECT_TRUE(contains(asking({90, 50, nullptr}), "at no address"));
  EXPECT_TRUE(contains(asking({90, 0, image.pixels.data()}), "90x0"));
  EXPECT_TRUE(contains(asking({1 << 30, 1 << 30, image.pixels.data()}), "are the most"));
  EXPECT_TRUE(contains(asking({90, 50, image.pixels.data(), 269}), "row_bytes is 269"));
  EXPECT_TRUE(contains(message_of([&] { predictor.predict_file("nowhere.jpg"); }), "nowhere.jpg: "));
  EXPECT_EQ(predictor.predict(pixels_of(image)).classes.size(), 3u) << "it can be used on";
}

TEST_F(PredictorTest, PicturesOfOneRunHaveOneSizeForTheNetwork) {
  Predictor predictor(model_file("unet", 2, Json::array({{{"name", "normalize"}}})), {.device = "cpu"});
  const Image image = striped(64, 64), other = striped(96, 64);
  EXPECT_EQ(predictor.predict(pixels_of(other)).mask.width, 96);
  const std::vector<Pixels> both = {pixels_of(image), pixels_of(other)};
  EXPECT_TRUE(contains(message_of([&] { predictor.predict(both); }), "64x64 and 96x64"));
}

TEST_F(PredictorTest, ThreadsOfTheirOwnDoNotMeet) {
  const std::string file = model_file("mobilenet_v2", 7);
  constexpr int kWorkers = 3, kPictures = 20;
  std::vector<std::vector<double>> alone(kPictures);
  {
    Predictor predictor(file, {.device = "cpu", .threads = 2});
    for (int i = 0; i < kPictures; ++i)
      alone[i] = scores(predictor.predict(pixels_of(striped(40 + i, 50, i))));
  }
  std::vector<int> same(kWorkers);
  std::vector<std::thread> workers;
  for (int w = 0; w < kWorkers; ++w)
    workers.emplace_back([&, w] {
      Predictor predictor(file, {.device = "cpu", .threads = 2});
      for (int i = 0; i < kPictures; ++i)
        same[w] += scores(predictor.predict(pixels_of(striped(40 + i, 50, i)))) == alone[i];
    });
  for (std::thread& worker : workers) worker.join();
  for (const int count : same) EXPECT_EQ(count, kPictures);
}

TEST_F(PredictorTest, PredictionsLeaveNoMemoryBehind) {
  Predictor predictor(model_file("yolov3_mobilenet_v1", 3), {.device = "cpu"});
  const Image image = striped(90, 50);
  for (int i = 0; i < 3; ++i) predictor.predict(pixels_of(image));
  const MemoryStatistics before = allocator::statistics(Device::kCpu);
  for (int i = 0; i < 100; ++i) predictor.predict(pixels_of(image));
  const MemoryStatistics after = allocator::statistics(Device::kCpu);
  EXPECT_EQ(after.in_use, before.in_use);
  EXPECT_EQ(after.system_calls, before.system_calls);
}

}  // namespace
}  // namespace espalier
