// INT8 of what is hardly fit for it, through the command line: one clear line or a model that works, and
// nothing lost.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <limits>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "command_line.h"
#include "io/file.h"
#include "io/image.h"
#include "io/model_file.h"
#include "models/model_table.h"
#include "nn/layers.h"
#include "support/messages.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using test::expect_says;
using test::run;

constexpr int kSide = 32, kPictures = 30;

/// Tells light pictures from dark ones. On the way, the fourth channel of "burst" is 1e30 where a pixel is
/// white, and is hardly read.
Graph light_or_dark() {
  Graph g = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const auto pointwise = [&](const char* name, const Tensor& in, int out, Activation act) {
          Scope layer = s / name;
          const Running place(layer.path());
          return conv2d(in, layer.param("w", {out, 1, 1, in.channels()}, zeros),
                        {.act = act, .bias = layer.param("bias", {out}, zeros)});
        };
        const Tensor spread = pointwise("spread", x, 4, Activation::relu()),
                     burst = pointwise("burst", spread, 4, Activation::none()),
                     mixed = pointwise("mixed", burst, 2, Activation::relu6());
        return {fully_connected(s / "classifier", global_avg_pool(mixed), 2)};
      },
      kSide, kSide, 3, 1);
  const auto set = [&](const char* name, const std::vector<float>& values) {
    g.values[g.find(name)].param.set(values);
  };
  set("spread/w", {1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0});
  set("spread/bias", {1, 1, 1, -0.995f});  // pixels are -1 .. 1
  set("burst/w", {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2e32f});
  set("mixed/w", {0.9f, 0.7f, 0.8f, 1e-33f, 0.4f, 0.5f, 0.3f, 1e-33f});
  set("classifier/w", {-1, -1, 1, 1});
  set("classifier/bias", {3.6f, -3.6f});
  return g;
}

struct Int8Inputs : testing::Test {
  test::Folder folder;

  /// One PNG of noise around each shade, labelled 0 and 1 in turn; `white` whitens one pixel of the first.
  void draw(const std::vector<int>& shades, int noise, bool white = false) {
    Random random(1, Purpose::kTest);
    std::string lines;
    fs::create_directories(folder / "data");
    for (size_t i = 0; i < shades.size(); ++i) {
      Image picture(kSide, kSide);
      for (uint8_t& byte : picture.pixels)
        byte = static_cast<uint8_t>(shades[i] + static_cast<int>(random.uniform(-noise, noise)));
      if (white && i == 0) std::fill_n(picture.at(7, 5), 3, 255);
      write_png(folder / str("data/", i, ".png"), picture);
      lines += str(i, ".png ", i % 2, '\n');
    }
    for (const char* list : {"data/train_list.txt", "data/val_list.txt"})
      write_atomically(folder / list, lines);
    write_atomically(folder / "data/labels.txt", "dark\nlight\n");
  }

  void draw_both(bool white = false) {
    std::vector<int> shades;
    for (int i = 0; i < kPictures; ++i) shades.push_back(i % 2 ? 190 : 64);
    draw(shades, 40, white);
  }

  std::string save(const Graph& graph, float mean = 0.5f) {
    Model model;
    model.graph = graph;
    model.task = "classification";
    model.labels = {"dark", "light"};
    model.architecture = complete_spec({"mobilenet_v2", 2, {}});
    model.preprocessing =
        Json::array({{{"name", "center_crop"}, {"size", kSide}},
                     {{"name", "normalize"}, {"mean", {mean, mean, mean}}, {"std", {0.5, 0.5, 0.5}}}});
    model.metrics = Json::object();
    model.lineage = Json::array();
    save_model(folder / "model.safetensors", model);
    return folder / "model.safetensors";
  }

  std::vector<std::string> on_data(std::vector<std::string> arguments) const {
    for (const std::string& more :
         {std::string("--data"), folder / "data", std::string("--set"), str("data.size=", kSide),
          std::string("--set"), std::string("data.batch=10")})
      arguments.push_back(more);
    return arguments;
  }

  test::Ran quantize(const std::string& model, const std::string& out,
                     const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"quantize", model, "--out", folder / out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(on_data(arguments));
  }

  double top1(const std::string& model) const {
    const test::Ran ran = run(on_data({"evaluate", model, "--json"}));
    EXPECT_EQ(ran.code, kOk) << ran.err;
    return ran.code == kOk ? ran.json().at("value").get<double>() : -1;
  }
};

TEST_F(Int8Inputs, OneConstantPictureIsEnough) {
  // Black is 0 after the first scaling: the input has no scale of its own.
  for (const auto& [shade, mean] : {std::pair{0, 0.0f}, std::pair{90, 0.5f}}) {
    draw({shade, shade}, 0);
    const std::string model = save(light_or_dark(), mean);
    const double fp32 = top1(model);
    for (const char* calibrator : {"percentile", "kl", "mse", "min_max", "auto"})
      for (const char* rounding : {"nearest", "optimised"}) {
        SCOPED_TRACE(str(shade, ' ', calibrator, ' ', rounding));
        const test::Ran ran =
            quantize(model, "int8.safetensors", {"--calibrator", calibrator, "--rounding", rounding});
        ASSERT_EQ(ran.code, kOk) << ran.err;
        EXPECT_EQ(top1(folder / "int8.safetensors"), fp32);
      }
  }
}

TEST_F(Int8Inputs, OutliersAreSaidAndLeftOut) {
  draw_both(true);
  const std::string model = save(light_or_dark());
  ASSERT_EQ(top1(model), 1) << "the case is sound in FP32";
  for (const char* calibrator : {"percentile", "kl", "mse", "auto"}) {
    testing::internal::CaptureStderr();
    const test::Ran ran = quantize(model, "int8.safetensors", {"--calibrator", calibrator});
    const std::string said = testing::internal::GetCapturedStderr();
    ASSERT_EQ(ran.code, kOk) << ran.err;
    expect_says(said, "warning: calibrate: burst");
    expect_says(said, "e+30, nearly all others stay under");
    EXPECT_EQ(top1(folder / "int8.safetensors"), 1) << calibrator;
  }
  ASSERT_EQ(quantize(model, "all.safetensors", {"--calibrator", "min_max"}).code, kOk);
  EXPECT_LT(top1(folder / "all.safetensors"), 0.6) << "with codes for 1e30 there are none for the others";
  const test::Ran mended =
      quantize(model, "mended.safetensors", {"--calibrator", "min_max", "--max-drop", "0", "--json"});
  ASSERT_EQ(mended.code, kOk) << mended.err;
  EXPECT_FALSE(mended.json().at("returned").empty());
  EXPECT_EQ(top1(folder / "mended.safetensors"), 1);
}

TEST_F(Int8Inputs, NaNNamesTheTensorAndKeepsTheOldFile) {
  draw_both();
  for (const char* tensor : {"spread/w", "mixed/bias", "classifier/bias"}) {
    Graph g = light_or_dark();
    g.values[g.find(tensor)].param.f32()[1] = std::numeric_limits<float>::quiet_NaN();
    const std::string model = save(g);
    write_atomically(folder / "int8.safetensors", "an earlier model");
    const test::Ran ran = quantize(model, "int8.safetensors");
    EXPECT_EQ(ran.code, kBadInput) << ran.err;
    expect_says(ran.err, str("tensor '", tensor, "' holds nan at 1"));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
    EXPECT_EQ(read_file(folder / "int8.safetensors"), "an earlier model");
  }
}

/// Ctrl-C as soon as `file` is there.
test::Ran interrupted_after(const std::string& file, const std::function<test::Ran()>& work) {
  std::atomic<bool> over{false};
  std::thread ctrl_c([&] {
    while (!over && !fs::exists(file)) std::this_thread::sleep_for(std::chrono::microseconds(200));
    request_interrupt();
  });
  const test::Ran ran = work();
  over = true;
  ctrl_c.join();
  request_interrupt(false);
  return ran;
}

TEST_F(Int8Inputs, AnInterruptedSearchGoesOnToTheSameModel) {
  draw_both();
  const std::string model = save(build_model({"mobilenet_v2", 2, {{"width", 0.25}}}, kSide, 1));
  const std::vector<std::string> how = {"--rounding", "optimised", "--layer-metrics", "true"};
  const auto in = [&](const std::string& work) {
    std::vector<std::string> more = how;
    more.insert(more.end(), {"--work", folder / work});
    return quantize(model, work + ".safetensors", more);
  };
  ASSERT_EQ(in("whole").code, kOk);

  write_atomically(folder / "parts.safetensors", "an earlier model");
  const auto stopped = [&](const test::Ran& ran) {
    EXPECT_EQ(ran.code, kInterrupted) << ran.err;
    expect_says(ran.err, "the same command continues");
    EXPECT_EQ(read_file(folder / "parts.safetensors"), "an earlier model");
  };
  stopped(interrupted_after(folder / "data", [&] { return in("parts"); }));  // while it calibrates
  EXPECT_FALSE(fs::exists(folder / "parts/measurements.json"));
  stopped(interrupted_after(folder / "parts/measurements.json", [&] { return in("parts"); }));
  const Json half = Json::parse(read_file(folder / "parts/measurements.json"));
  EXPECT_GT(half.at("measured").size(), 0u);

  ASSERT_EQ(in("parts").code, kOk);
  const Json all = Json::parse(read_file(folder / "whole/measurements.json"));
  EXPECT_LT(half.at("measured").size(), all.at("measured").size());
  EXPECT_EQ(Json::parse(read_file(folder / "parts/measurements.json")), all);
  EXPECT_EQ(read_file(folder / "parts/layer_errors.json"), read_file(folder / "whole/layer_errors.json"));
  EXPECT_EQ(read_file(folder / "parts.safetensors"), read_file(folder / "whole.safetensors"));
}

}  // namespace
}  // namespace espalier
