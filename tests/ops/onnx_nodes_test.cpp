// The words in which ops write themselves as ONNX; whole networks run in tests/models/onnx_runtime.sh.

#include "ops/onnx_nodes.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/messages.h"

namespace espalier::test {
namespace {

/// Says what it is told in one line: nodes as "Type(inputs)", numbers as themselves.
struct Spoken final : OnnxNodes {
  Meta x, y;
  float x_scale = 0.5f;
  std::string out_text;

  int inputs() const override { return 1; }
  const Meta& meta(int) const override { return x; }
  const Meta& out_meta() const override { return y; }
  const Tensor& parameter(int) const override { fail("there is none"); }
  Name in(int) override { return "x"; }
  float scale(int) const override { return x_scale; }
  Name constant(const char* what, const Tensor&) override { return what; }
  Name number(const char*, float value) override { return str(value); }
  Name integers(const char* what, const std::vector<int64_t>&) override { return what; }
  Name node(const char* type, const std::vector<Name>& inputs, const std::vector<Attribute>& all) override {
    std::string text = str(type, "(");
    for (size_t i = 0; i < inputs.size(); ++i) text += (i ? "," : "") + inputs[i];
    for (const Attribute& a : all) text += str(" ", a.name, "=", std::get<float>(a.value));
    return text + ")";
  }
  void out(const Name& real) override { out_text = real; }
  void out_codes(const Name& real, float scale) override { out_text = str(real, " at ", scale); }
};

TEST(OnnxWords, AnActivationIsWhatItsTwoNumbersSay) {
  const auto said = [](Activation act) {
    Spoken nodes;
    return onnx_words::activated(nodes, "x", act);
  };
  EXPECT_EQ(said(Activation::none()), "x");
  EXPECT_EQ(said(Activation::relu()), "Relu(x)");
  EXPECT_EQ(said(Activation::relu6()), "Clip(x,0,6)");
  EXPECT_EQ(said({.slope = 1, .cap = 2}), "Clip(x,,2)");
  EXPECT_EQ(said(Activation::leaky(0.25f)), "LeakyRelu(x alpha=0.25)");
  EXPECT_EQ(said({.slope = 0.5f, .cap = 3}), "Clip(LeakyRelu(x alpha=0.5),,3)");
}

/// What a type of codes clamps by itself needs no node, which would hide an INT8 kernel from a runtime.
TEST(OnnxWords, LimitsOfCodesAreSaidWhereTheTypeHasOthers) {
  const auto said = [](DType codes, int low, int high) {
    Spoken nodes;
    nodes.y.dtype = codes;
    return onnx_words::within(nodes, "x", low, high, 0.5f);
  };
  EXPECT_EQ(said(DType::kU8, 0, 255), "x");
  EXPECT_EQ(said(DType::kS8, -127, 127), "x");
  EXPECT_EQ(said(DType::kU8, 0, 200), "Clip(x,,100)");
  EXPECT_EQ(said(DType::kS8, 0, 127), "Clip(x,0,)");
  EXPECT_EQ(said(DType::kS8, 0, 12), "Clip(x,0,6)");
}

TEST(OnnxWords, WhatMovesCodesKeepsTheirScale) {
  Spoken nodes;
  onnx_words::out_like_input(nodes, "y");
  EXPECT_EQ(nodes.out_text, "y");
  nodes.x.dtype = DType::kU8;
  onnx_words::out_like_input(nodes, "y");
  EXPECT_EQ(nodes.out_text, "y at 0.5");
}

TEST(OnnxWords, FiltersHaveTheirPlacesInside) {
  const Tensor dense({2, 1, 2, 3}), depthwise({1, 2, 3});
  for (int i = 0; i < 12; ++i) dense.f32()[i] = static_cast<float>(i);
  for (int i = 0; i < 6; ++i) depthwise.f32()[i] = static_cast<float>(i);
  const Tensor turned = onnx_words::filters(dense, false), one_each = onnx_words::filters(depthwise, true);
  EXPECT_EQ(turned.shape(), (Shape{2, 3, 1, 2}));
  EXPECT_EQ(turned.to_vector(), (std::vector<float>{0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11}));
  EXPECT_EQ(one_each.shape(), (Shape{3, 1, 1, 2}));
  EXPECT_EQ(one_each.to_vector(), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  const Tensor codes({2, 1, 1, 2}, Device::kCpu, DType::kS8);
  for (int i = 0; i < 4; ++i) codes.s8()[i] = static_cast<int8_t>(i);
  EXPECT_EQ(onnx_words::filters(codes, false).to_vector(), (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(onnx_words::filters(codes, false).dtype(), DType::kS8);
}

TEST(OnnxWords, LossesHaveNone) {
  Spoken nodes;
  expect_says(message_of([&] { make_op("softmax_cross_entropy")->to_onnx(nodes); }),
              "op 'softmax_cross_entropy' has no form in ONNX");
}

}  // namespace
}  // namespace espalier::test
