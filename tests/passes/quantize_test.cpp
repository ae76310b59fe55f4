#include "passes/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "graph/cost.h"
#include "models/model_table.h"
#include "nn/layers.h"
#include "ops/quantized_convolution.h"
#include "passes/quantized_network.h"
#include "runtime/session.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct Quantised {
  Graph fp32, int8;
  Tensor x;
  explicit Quantised(const QuantizeOptions& options = {})
      : fp32(prepare_for_quantization(small_network())), x(random_tensor({4, 20, 20, 3}, Device::kCpu, 3)) {
    int8 = quantize(fp32, ranges_of(fp32, x), options);
  }
};

TEST(Quantize, StaysNearTheFp32Network) {
  const Quantised q;
  const NoGrad no_grad;
  EXPECT_LT(relative_error(q.int8.run({q.x})[0].to_vector(), q.fp32.run({q.x})[0].to_vector()), 0.05);
}

TEST(Quantize, SessionAndGraphAgreeBitForBit) {
  const Quantised q;
  Session session(q.int8);
  const NoGrad no_grad;
  EXPECT_EQ(session.run({q.x})[0].to_vector(), q.int8.run({q.x})[0].to_vector());
  const Tensor one = random_tensor({1, 17, 23, 3}, Device::kCpu, 8);  // another size than traced
  EXPECT_EQ(session.run({one})[0].to_vector(), q.int8.run({one})[0].to_vector());
}

TEST(Quantize, EverythingBetweenInputAndLogitsIsInt8) {
  const Quantised q;
  std::multiset<std::string> ops;
  for (const Graph::Item& item : q.int8.items) ops.insert(item.op->name());
  EXPECT_EQ(ops.count("quantize"), 1u) << q.int8;
  EXPECT_EQ(ops.count("dequantize"), 0u) << q.int8;
  EXPECT_EQ(ops.count("quantized_conv2d"), 3u);
  EXPECT_EQ(ops.count("quantized_depthwise_conv2d"), 1u);
  EXPECT_EQ(ops.count("quantized_linear"), 1u);
  EXPECT_EQ(ops.count("quantized_global_avg_pool"), 1u);
  EXPECT_EQ(ops.size(), 7u) << q.int8;
  for (const Graph::Value& v : q.int8.values)
    if (v.param.defined() && v.name.ends_with("/w")) {
      EXPECT_EQ(v.meta.dtype, DType::kS8) << v.name;
    }
}

TEST(Quantize, UsesU8WhereNothingIsNegative) {
  const Quantised q, compat({.paddlex_compat = true});
  const auto types = [](const Graph& g) {
    std::set<std::string> found;
    for (const Graph::Item& item : g.items)
      if (const auto* op = dynamic_cast<const QuantizedConvolution*>(item.op.get())) found.insert(op->out);
    return found;
  };
  EXPECT_EQ(types(q.int8), (std::set<std::string>{"f32", "s8", "u8"}));
  EXPECT_EQ(types(compat.int8), (std::set<std::string>{"f32", "s8"}));
}

TEST(Quantize, PerChannelScalesServeFiltersOfAnySize) {
  const Graph g = build_graph(
      [](Scope s, const Tensor& x) { return Tensors{conv_bn(s / "conv", x, 8, {.kernel = 3})}; }, 9, 9, 3, 1);
  const Tensor w = g.values[g.find("conv/w")].param;
  for (int64_t i = 0; i < w.elements(); ++i)
    w.f32()[i] *= i / 27 % 2 ? 1.0f : 0.01f;  // every other filter is tiny
  const Graph prepared = prepare_for_quantization(g);
  const Tensor x = random_tensor({2, 9, 9, 3}, Device::kCpu, 4);
  const auto ranges = ranges_of(prepared, x);
  const NoGrad no_grad;
  const std::vector<float> want = prepared.run({x})[0].to_vector();
  const auto error_of_tiny = [&](const QuantizeOptions& options) {
    const std::vector<float> got = quantize(prepared, ranges, options).run({x})[0].to_vector();
    std::vector<float> a, b;
    for (size_t i = 0; i < got.size(); i += 2) a.push_back(got[i]), b.push_back(want[i]);
    return relative_error(a, b);
  };
  EXPECT_LT(error_of_tiny({}), 0.02);
  EXPECT_GT(error_of_tiny({.per_channel = false}), 0.1);
}

TEST(Quantize, KeepsNamedLayersInFp32) {
  const Quantised q({.keep_fp32 = {"depthwise/*", "classifier/linear"}});
  EXPECT_GE(q.int8.find_item("depthwise/depthwise_conv2d"), 0);
  EXPECT_EQ(std::string(q.int8.items[q.int8.find_item("depthwise/depthwise_conv2d")].op->name()),
            "depthwise_conv2d");
  EXPECT_EQ(std::string(q.int8.items[q.int8.find_item("classifier/linear")].op->name()), "linear");
  Session session(q.int8);
  const NoGrad no_grad;
  EXPECT_LT(relative_error(session.run({q.x})[0].to_vector(), q.fp32.run({q.x})[0].to_vector()), 0.05);
  EXPECT_THROW(Quantised({.keep_fp32 = {"no_such_layer"}}), Error);
}

TEST(Quantize, NeedsPositiveRangesOfEverything) {
  const Graph g = prepare_for_quantization(small_network());
  auto ranges = ranges_of(g, random_tensor({1, 20, 20, 3}, Device::kCpu, 3));
  auto missing = ranges;
  missing.erase("image");
  EXPECT_THROW(quantize(g, missing), Error);
  ranges["image"] = 0;
  EXPECT_THROW(quantize(g, ranges), Error);
}

TEST(Quantize, SurvivesFiltersOfZeros) {
  Graph g = small_network();
  const Tensor w = g.values[g.find("project/w")].param;
  for (int64_t i = 0; i < 3 * 40; ++i) w.f32()[i] = 0;
  const Graph prepared = prepare_for_quantization(g);
  const Tensor x = random_tensor({2, 20, 20, 3}, Device::kCpu, 4);
  const Graph int8 = quantize(prepared, ranges_of(prepared, x));
  const NoGrad no_grad;
  EXPECT_LT(relative_error(int8.run({x})[0].to_vector(), prepared.run({x})[0].to_vector()), 0.05);
}

TEST(Quantize, MobileNetV2IsAQuarterOfItsSize) {
  const Graph g = build_model({.name = "mobilenet_v2", .classes = 15}, 64, 1);
  const Graph prepared = prepare_for_quantization(g);
  const Tensor x = random_tensor({1, 64, 64, 3}, Device::kCpu, 4);
  const Graph int8 = quantize(prepared, ranges_of(prepared, x));
  EXPECT_LT(static_cast<double>(cost(int8).bytes), 0.3 * static_cast<double>(cost(g).bytes));
  EXPECT_EQ(cost(int8).macs, cost(g).macs);
  Session session(int8);
  const NoGrad no_grad;
  EXPECT_EQ(session.run({x})[0].to_vector(), int8.run({x})[0].to_vector());
}

/// Everything that moves codes between layers, as UNet and YOLOv3 do it.
Graph moving_network() {
  Graph g = build_graph(
      [](Scope s, const Tensor& image) {
        const Tensor skip = conv_bn(s / "skip", image, 12, {.kernel = 3, .act = Activation::relu()});
        const Tensor small =
            conv_bn(s / "small", max_pool(skip), 20, {.kernel = 3, .act = Activation::leaky(0.1f)});
        const Tensor nearest = conv_bn(s / "nearest", concat({resize_nearest_like(small, skip), skip}), 9,
                                       {.kernel = 1, .act = Activation::relu()});
        const Tensor bilinear = resize_bilinear_like(
            conv_bn(s / "half", max_pool(nearest), 8, {.kernel = 3, .act = Activation::relu6()}), skip, true);
        const Tensor last = concat({bilinear, nearest});
        return Tensors{conv_bn(s / "fine", last, 5, {.kernel = 3}),
                       fully_connected(s / "head", global_avg_pool(last), 4)};
      },
      18, 22, 3, 7);
  randomise(g, 5);
  return g;
}

TEST(Quantize, ConcatPoolingAndResizingStayInInt8) {
  const Graph fp32 = prepare_for_quantization(moving_network());
  const Tensor x = random_tensor({2, 18, 22, 3}, Device::kCpu, 3);
  const Graph int8 = quantize(fp32, ranges_of(fp32, x));
  std::multiset<std::string> ops;
  for (const Graph::Item& item : int8.items) ops.insert(item.op->name());
  EXPECT_EQ(
      ops, (std::multiset<std::string>{"concat", "concat", "quantize", "quantized_conv2d", "quantized_conv2d",
                                       "quantized_conv2d", "quantized_conv2d", "quantized_conv2d",
                                       "quantized_global_avg_pool", "quantized_linear", "quantized_max_pool",
                                       "quantized_max_pool", "quantized_resize", "quantized_resize"}))
      << int8;
  const NoGrad no_grad;
  const Tensors want = fp32.run({x}), got = int8.run({x});
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_LT(relative_error(got[i].to_vector(), want[i].to_vector()), 0.05) << i;
  Session session(int8);
  for (const Tensor& image : {x, random_tensor({1, 15, 19, 3}, Device::kCpu, 8)}) {
    const Tensors simulated = int8.run({image}), ran = session.run({image});
    for (size_t i = 0; i < ran.size(); ++i) EXPECT_EQ(ran[i].to_vector(), simulated[i].to_vector());
  }
}

TEST(Quantize, WhatAConcatJoinsHasOneScaleAndOneType) {
  const Graph fp32 = prepare_for_quantization(moving_network());
  const Graph int8 = quantize(fp32, ranges_of(fp32, random_tensor({2, 18, 22, 3}, Device::kCpu, 3)));
  const auto maker = [&](const char* item) {
    return dynamic_cast<const QuantizedConvolution*>(int8.items[int8.find_item(item)].op.get());
  };
  // skip is a ReLU's, but meets a leaky ReLU's values in a concat: both are s8.
  EXPECT_EQ(maker("skip/conv2d")->out, "s8");
  EXPECT_EQ(maker("small/conv2d")->out, "s8");
  EXPECT_EQ(maker("skip/conv2d")->out_scale, maker("small/conv2d")->out_scale);
  EXPECT_EQ(maker("half/conv2d")->out, "u8");
  EXPECT_EQ(maker("half/conv2d")->out_scale, maker("nearest/conv2d")->out_scale);
}

TEST(Quantize, KeepsTheLayersOfTheOutputsInFp32) {
  const Graph fp32 = prepare_for_quantization(moving_network());
  const auto ranges = ranges_of(fp32, random_tensor({2, 18, 22, 3}, Device::kCpu, 3));
  const Graph int8 = quantize(fp32, ranges, {.keep_fp32 = {"outputs"}});
  std::multiset<std::string> ops;
  for (const Graph::Item& item : int8.items) ops.insert(item.op->name());
  EXPECT_EQ(ops.count("conv2d") + ops.count("linear"), 2u) << int8;
  EXPECT_EQ(ops.count("quantized_conv2d"), 4u) << int8;
  EXPECT_EQ(ops.count("quantized_linear"), 0u) << int8;
}

/// The detector and the segmenter, whole, at a width that runs fast.
class QuantizeNetworks : public ::testing::TestWithParam<const char*> {};

TEST_P(QuantizeNetworks, RunInInt8AndSessionsAgreeBitForBit) {
  Graph g = build_model({.name = GetParam(), .classes = 2, .options = {{"width", 0.25}}}, 64, 1);
  randomise(g, 3);
  const Graph fp32 = prepare_for_quantization(g);
  const Tensor x = random_tensor({2, 64, 64, 3}, Device::kCpu, 4);
  const auto ranges = ranges_of(fp32, x);
  const NoGrad no_grad;
  const Tensors want = fp32.run({x});
  for (const bool outputs : {false, true}) {
    QuantizeOptions options;
    if (outputs) options.keep_fp32 = {"outputs"};
    const Graph int8 = quantize(fp32, ranges, options);
    for (const Graph::Item& item : int8.items) {
      const bool last = item.name.starts_with("yolo_output") || item.name.starts_with("logits"),
                 codes = int8.values[item.out[0]].meta.dtype != DType::kF32;
      EXPECT_EQ(item.op->name() == std::string("conv2d"), outputs && last) << item.name;
      EXPECT_TRUE(codes || last || item.op->name() == std::string("dequantize")) << item.name;
    }
    const Tensors simulated = int8.run({x});
    Session session(int8);
    const Tensors& ran = session.run({x});
    if (outputs) expect_same(ran, simulated);  // FP32 layers round in their own order
    for (size_t i = 0; i < want.size(); ++i) {
      if (!outputs) {
        EXPECT_EQ(ran[i].to_vector(), simulated[i].to_vector()) << "output " << i;
      }
      EXPECT_LT(relative_error(simulated[i].to_vector(), want[i].to_vector()), 0.1) << "output " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, QuantizeNetworks, ::testing::Values("yolov3_mobilenet_v1", "unet"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace espalier::test
