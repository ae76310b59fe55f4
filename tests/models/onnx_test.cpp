// Every model as ONNX. What a runtime makes of the files is tests/models/onnx_runtime.sh, which has this test
// write them where it looks: ESPALIER_ONNX_CASES.

#include "io/onnx.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "graph/trace.h"
#include "io/file.h"
#include "models/model_table.h"
#include "ops/ops.h"
#include "passes/quantize.h"
#include "passes/quantized_network.h"
#include "support/messages.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace espalier::test {
namespace {

namespace fs = std::filesystem;

constexpr kernels::PixelScale kScale = {{0.02f, 0.03f, 0.01f}, {-2, -3, -1}};
constexpr int kPictures = 2;

/// Files of what goes into networks and what comes out of them, and one, cases.json, that lists them.
class Cases {
 public:
  explicit Cases(const fs::path& folder) : folder_(folder) {}

  /// Writes `model`, which gives `want` for `images`, of which `given` are the bytes if it takes bytes.
  OnnxSummary add(const std::string& name, const Model& model, const OnnxOptions& options,
                  const Tensor& given, const Tensors& want, double tolerance) {
    OnnxSummary summary = save_onnx(folder_ / (name + ".onnx"), model, options);
    Json outputs = Json::array();
    for (size_t i = 0; i < want.size(); ++i) outputs.push_back(file_of(str(name, ".out", i), want[i]));
    cases_.push_back({{"model", name + ".onnx"},
                      {"input", file_of(name + ".in", given)},
                      {"name", summary.input.name},
                      {"outputs", outputs},
                      {"tolerance", tolerance},
                      {"labels", model.labels},
                      {"open", options.batch == 0}});
    return summary;
  }

  void write() const { write_atomically(folder_ / "cases.json", cases_.dump(2)); }
  int64_t bytes_of(const std::string& name) const {
    return static_cast<int64_t>(fs::file_size(folder_ / (name + ".onnx")));
  }

 private:
  Json file_of(const std::string& name, const Tensor& t) const {
    std::ofstream(folder_ / name, std::ios::binary)
        .write(static_cast<const char*>(t.data()), static_cast<std::streamsize>(t.bytes()));
    return {{"file", name},
            {"type", t.dtype() == DType::kU8 ? "uint8" : "float32"},
            {"shape", t.shape().vector()}};
  }

  fs::path folder_;
  Json cases_ = Json::array();
};

Tensor bytes(const Shape& shape) {
  Tensor all(shape, Device::kCpu, DType::kU8);
  Random random(7, Purpose::kTest);
  for (int64_t i = 0; i < all.elements(); ++i) all.u8()[i] = static_cast<uint8_t>(random.below(256));
  return all;
}

Tensor normalised(const Tensor& pixels) {
  Tensor images(pixels.shape());
  kernels::scale_pixels(Device::kCpu, pixels.elements() / 3, pixels.u8(), kScale, images.f32());
  return images;
}

Graph traced(const std::function<Tensor(const Tensor&)>& network, const Shape& shape) {
  Tracing tracing;
  const Tensor y = network(tracing.input("x", {shape}));
  return tracing.finish({y});
}

/// What the models do not use, with extents and factors that are odd.
Graph odd_network() {
  Tracing tracing;
  const auto parameter = [&](const char* name, const Shape& shape) {
    return tracing.parameter(name, Tensor::zeros(shape), true);
  };
  const Tensor x = tracing.input("x", {{1, 13, 11, 3}});
  Tensor y =
      conv2d(x, parameter("conv/w", {5, 3, 2, 3}),
             {.stride = 2, .pad = {1, 0, 2, 1}, .act = {0.2f, 0.7f}, .bias = parameter("conv/bias", {5})});
  y = batch_norm(sigmoid(y), parameter("norm/scale", {5}), parameter("norm/shift", {5}),
                 parameter("norm/mean", {5}), parameter("norm/variance", {5}),
                 {.act = Activation::relu(1.5f)});
  y = concat({max_pool(y, {.kernel = 3, .stride = 1, .pad = {1, 1, 1, 1}}), y, leaky_relu(y, 0.3f)});
  y = depthwise_conv2d(y, parameter("depthwise/w", {3, 3, 15}), {.pad = {1, 1, 1, 1}, .residual = y});
  y = add(resize_nearest(y, 10, 17), resize_bilinear(y, 10, 17, false));
  y = activation(resize_bilinear_like(y, x, true), {1, 0.9f});
  const Tensor flat = linear(global_avg_pool(y), parameter("linear/w", {4, 15}),
                             parameter("linear/bias", {4}), Activation::leaky());
  Graph graph = tracing.finish({y, flat, y});
  randomise(graph, 5);
  return graph;
}

Model int8_of(const Model& model, const Tensor& images) {
  Model int8 = model;
  const Graph prepared = prepare_for_quantization(model.graph);
  int8.graph = quantize(prepared, ranges_of(prepared, images));
  return int8;
}

TEST(Onnx, EveryModelIsWritten) {
  if (const std::string why = message_of([] { check_onnx_is_built(); }); !why.empty()) GTEST_SKIP() << why;
  const TemporaryDirectory temporary;
  const char* wanted = std::getenv("ESPALIER_ONNX_CASES");
  Cases cases(wanted ? fs::path(wanted) : temporary.path());
  const NoGrad no_grad;
  for (const ModelEntry& entry : model_table()) {
    SCOPED_TRACE(entry.name);
    ModelSpec spec{.name = entry.name, .classes = 3, .options = Json::object()};
    if (entry.options.contains("width")) spec.options["width"] = 0.25;
    const std::string name = entry.name;
    Model model{.graph = build_model(spec, 64, 1), .task = entry.task, .labels = {"a", "b\n", "\"c\""}};
    randomise(model.graph, 3);
    const Tensor pixels = bytes({kPictures, 64, 64, 3}), images = normalised(pixels);
    const Tensors want = model.graph.run({images});
    const OnnxSummary fp32 = cases.add(name, model, {.pixels = kScale}, pixels, want, 1e-4);
    EXPECT_EQ(fp32.input.name, "pixels");
    EXPECT_EQ(fp32.input.type, "uint8");
    EXPECT_EQ(fp32.input.shape, (std::vector<std::string>{"N", "64", "64", "3"}));
    EXPECT_EQ(fp32.outputs.size(), want.size());
    EXPECT_EQ(fp32.outputs[0].name, want.size() == 1 ? "output" : "output_0");
    const Model int8 = int8_of(model, images);
    cases.add(name + "_int8", int8, {}, images, int8.graph.run({images}), 0.02);
    EXPECT_LT(cases.bytes_of(name + "_int8"), 0.4 * static_cast<double>(cases.bytes_of(name)))
        << "filters are codes there too";
  }
  const Model odd{.graph = odd_network()};
  const Tensor images = random_tensor({kPictures, 13, 11, 3}, Device::kCpu, 4);
  const OnnxSummary fixed =
      cases.add("odd", odd, {.batch = kPictures}, images, odd.graph.run({images}), 1e-5);
  EXPECT_EQ(fixed.input.name, "images");
  EXPECT_EQ(fixed.input.shape, (std::vector<std::string>{"2", "3", "13", "11"}));
  EXPECT_EQ(fixed.outputs[1].shape, (std::vector<std::string>{"2", "4"}));
  const Model odd_int8 = int8_of(odd, images);
  cases.add("odd_int8", odd_int8, {}, images, odd_int8.graph.run({images}), 0.02);
  cases.write();
}

TEST(Onnx, TheSameModelGivesTheSameBytes) {
  if (const std::string why = message_of([] { check_onnx_is_built(); }); !why.empty()) GTEST_SKIP() << why;
  const TemporaryDirectory folder;
  const ModelSpec spec{.name = "mobilenet_v1", .classes = 3, .options = {{"width", 0.25}}};
  const Model model{.graph = build_model(spec, 32, 1), .task = "classification"};
  for (const char* name : {"a", "b"}) save_onnx(folder.path() / name, model);
  EXPECT_EQ(read_file(folder.path() / "a"), read_file(folder.path() / "b"));
}

TEST(Onnx, WhatCannotBeWrittenIsSaidAndLeavesTheOldFile) {
  if (const std::string why = message_of([] { check_onnx_is_built(); }); !why.empty()) GTEST_SKIP() << why;
  const TemporaryDirectory folder;
  const fs::path path = folder.path() / "model.onnx";
  write_atomically(path, "old");
  const auto complaint = [&](const std::function<Tensor(const Tensor&)>& network, const Shape& shape) {
    const Graph graph = traced(network, shape);
    return message_of([&] { save_onnx(path, {.graph = graph}); });
  };
  expect_says(complaint([](const Tensor& x) { return cast(x); }, {1, 8, 8, 3}),
              "op 'cast' has no form in ONNX");
  expect_says(complaint([](const Tensor& x) { return relu(x); }, {1, 8, 8, 4}),
              "the network's input is [1,8,8,4]; it must be [N,H,W,3]");
  EXPECT_EQ(read_file(path), "old");
  const Graph graph = traced([](const Tensor& x) { return relu(x); }, {1, 8, 8, 3});
  expect_says(message_of([&] { save_onnx(path / "below" / "a.onnx", {.graph = graph}); }), "below");
  expect_says(message_of([&] { save_onnx(path, {.graph = graph}, {.batch = -1}); }), "batch is -1");
}

}  // namespace
}  // namespace espalier::test
