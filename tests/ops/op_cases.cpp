#include "ops/op_cases.h"

#include "base/error.h"
#include "base/random.h"
#include "support/bf16.h"

namespace espalier::test {

namespace {

Tensor make_tensor(const Input& in, uint64_t seed, Device device) {
  const int64_t n = in.shape.elements();
  Random random(seed, Purpose::kTest);
  if (in.dtype == DType::kBF16) return as_bf16(make_tensor({in.shape, in.values}, seed, device));
  if (in.dtype != DType::kF32) {
    const Tensor host(in.shape, Device::kCpu, in.dtype);
    for (int64_t i = 0; i < n; ++i) {
      if (in.dtype == DType::kS8) host.s8()[i] = static_cast<int8_t>(random.below(255) - 127);
      if (in.dtype == DType::kU8) host.u8()[i] = static_cast<uint8_t>(random.below(256));
      if (in.dtype == DType::kS32)
        host.s32()[i] = in.values == Values::kLabels ? random.below(5)
                        : in.values == Values::kBits ? random.below(7) / 3
                                                     : random.below(2000) - 1000;
    }
    return host.to(device);
  }
  std::vector<float> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    float& v = values[static_cast<size_t>(i)];
    switch (in.values) {
      case Values::kFar:
        v = static_cast<float>(i % 3 * 8 - 4);
        break;
      case Values::kApart:
        v = 0.05f * static_cast<float>(i * 7919 % n) - 0.025f * static_cast<float>(n) + 0.013f;
        break;
      case Values::kPositive:
        v = static_cast<float>(random.uniform(0.5, 2));
        break;
      case Values::kTiny:
        v = static_cast<float>(random.uniform(0.0005, 0.002));
        break;
      case Values::kBoxes:
        if (i % 6 == 4)
          v = static_cast<float>(random.below(2));
        else
          v = i >= n - 6 ? 0.0f : static_cast<float>(random.uniform(i % 6 == 5 ? 0.3 : 0.1, 0.9));
        break;
      case Values::kMoments:
        v = static_cast<float>(i < n / 2 ? 0.2 * random.normal() : random.uniform(0.5, 2));
        break;
      default:
        v = static_cast<float>((in.values == Values::kSmall ? 0.2 : 1.0) * random.normal());
    }
  }
  return Tensor::from(values, in.shape, device);
}

std::function<Json(int)> fixed(const char* json) {
  return [attributes = Json::parse(json)](int) { return attributes; };
}

constexpr DType kS8 = DType::kS8, kU8 = DType::kU8, kS32 = DType::kS32;

/// x, filters and what the fused forms add; 5 x 6 pixels become 3 x 3.
std::vector<Input> convolution(int C, int K, bool depthwise) {
  const Shape y{2, 3, 3, K};
  return {{{2, 5, 6, C}, Values::kSmall},
          {depthwise ? Shape{3, 2, C} : Shape{K, 3, 2, C}, Values::kSmall},
          {{K}, Values::kFar},
          {y, Values::kSmall}};
}

std::vector<Input> quantized_convolution(int C, int K, bool depthwise) {
  return {{{2, 5, 6, C}, Values::kCodes, true, kU8},
          {depthwise ? Shape{3, 2, C} : Shape{K, 3, 2, C}, Values::kCodes, true, kS8},
          {{K}, Values::kCodes, true, kS32},
          {{K}, Values::kTiny, true},
          {{2, 3, 3, K}, Values::kCodes, true, kU8}};
}

/// scale, shift, running mean and variance.
std::vector<Input> norm_parameters(int C) {
  return {{{C}, Values::kSmall},
          {{C}, Values::kFar},
          {{C}, Values::kSmall, true},
          {{C}, Values::kPositive, true}};
}

std::vector<Input> operator+(std::vector<Input> a, const std::vector<Input>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Moments have no gradient where the running statistics are used.
std::vector<Input> normed_convolution(int C, int K, bool depthwise, bool training) {
  const std::vector<Input> all = convolution(C, K, depthwise);
  return std::vector<Input>{all[0], all[1], {{2, C}, Values::kMoments, !training}} + norm_parameters(C);
}

const char* const kConvolution =
    R"({"stride": 2, "pad": [1, 0, 2, 1], "slope": 0.1, "cap": 8, "has_bias": true, "has_residual": true})";
const char* const kQuantizedConvolution =
    R"({"stride": 2, "pad": [1, 0, 2, 1], "out": "u8", "in_scale": 0.1, "out_scale": 0.2,
        "residual_factor": 0.5, "slope": 0.3, "low": 3, "high": 250, "has_residual": true})";
const char* const kNormedConvolution =
    R"({"stride": 2, "pad": [1, 0, 2, 1], "has_norm": true, "measures": true, "eps": 0.01, "momentum": 0.3,
        "slope": 0.1, "cap": 8})";

std::vector<OpCase> make_cases() {
  std::vector<OpCase> cases;
  const auto add = [&](const char* op, std::function<Json(int)> attributes,
                       std::function<std::vector<Input>(int)> inputs, bool training = false) {
    cases.push_back({op, training, std::move(attributes), std::move(inputs)});
  };

  for (const double slope : {0.2, -0.5})  // the cap goes with the range of kApart
    add(
        "activation",
        [slope](int C) {
          return Json{{"slope", slope}, {"cap", 0.2 * C}};
        },
        [](int C) -> std::vector<Input> {
          return {{{2, 3, 4, C}, Values::kApart}};
        });
  add("sigmoid", fixed("{}"), [](int C) -> std::vector<Input> { return {{{2, 3, 4, C}}}; });
  add("add", fixed("{}"), [](int C) -> std::vector<Input> { return {{{2, 3, 4, C}}, {{2, 3, 4, C}}}; });
  add("cast", fixed(R"({"to_bf16": true})"), [](int C) -> std::vector<Input> { return {{{2, 3, 4, C}}}; });
  // Only f32 is a leaf; Bf16OpsTest has the gradient.
  add("cast", fixed(R"({"to_bf16": false})"), [](int C) -> std::vector<Input> {
    return {{{2, 3, 4, C}, Values::kNormal, true, DType::kBF16}};
  });
  add("concat", fixed("{}"), [](int C) -> std::vector<Input> {
    return {{{2, 3, 4, C}}, {{2, 3, 4, 2}}, {{2, 3, 4, C + 1}}};
  });
  add("max_pool", fixed(R"({"kernel": 3, "stride": 1, "pad": [1, 0, 2, 1]})"),
      [](int C) -> std::vector<Input> {
        return {{{2, 4, 5, C}, Values::kApart}};
      });
  // Windows apart, with pixels between them that no window holds.
  add("max_pool", fixed(R"({"kernel": 2, "stride": 3, "pad": [1, 0, 1, 1]})"),
      [](int C) -> std::vector<Input> {
        return {{{2, 9, 7, C}, Values::kApart}};
      });
  add("global_avg_pool", fixed("{}"), [](int C) -> std::vector<Input> { return {{{3, 4, 5, C}}}; });
  add("resize", fixed(R"({"height": 7, "width": 3, "bilinear": true, "align_corners": true})"),
      [](int C) -> std::vector<Input> {
        return {{{2, 4, 5, C}}};
      });
  add("resize", fixed(R"({"height": 0, "width": 0, "bilinear": true, "align_corners": false})"),
      [](int C) -> std::vector<Input> {
        return {{{2, 4, 5, C}}, {{2, 9, 3, 1}, Values::kNormal, true}};
      });
  add(
      "dropout", fixed(R"({"probability": 0.3, "seed": 7})"),
      [](int C) -> std::vector<Input> {
        return {{{3, 4, 5, C}}};
      },
      true);
  add("softmax_cross_entropy",
      fixed(R"({"label_smoothing": 0.1, "class_weights": [1, 0.5, 2, 1, 3], "ignored_label": 2,
                "denominator_eps": 1e-3, "plain_mean": true})"),
      [](int C) -> std::vector<Input> {
        return {{{3, C, 5}}, {{3, C}, Values::kLabels, true, kS32}};
      });
  for (const char* op : {"sigmoid_cross_entropy", "dice_loss"})
    add(op, fixed(R"({"ignored_label": 2})"), [](int C) -> std::vector<Input> {
      return {{{3, 4, C, 1}}, {{3, 4, C}, Values::kBits, true, kS32}};
    });

  add("distillation_loss", fixed(R"({"temperature": 2, "ignored_label": 2})"),
      [](int C) -> std::vector<Input> {
        return {{{3, C, 5}}, {{3, C, 5}, Values::kNormal, true}, {{3, C}, Values::kLabels, true, kS32}};
      });
  add("distillation_loss", fixed(R"({"temperature": 1.5, "ignored_label": 2})"),
      [](int C) -> std::vector<Input> {
        return {{{3, C, 1}}, {{3, C, 1}, Values::kNormal, true}, {{3, C}, Values::kLabels, true, kS32}};
      });
  add(
      "yolo_distillation_loss",
      [](int C) {
        return Json{{"temperature", 2}, {"classes", C + 1}};
      },
      [](int C) -> std::vector<Input> {
        return {{{2, 3, 2, 2 * (6 + C)}}, {{2, 3, 2, 2 * (6 + C)}, Values::kNormal, true}};
      });
  for (const int axis : {-1, 0, 3})  // codes of thousands, most of them within the limits
    add(
        "fake_quantize",
        [axis](int) {
          return Json{{"low", -700}, {"high", 900}, {"axis", axis}};
        },
        [axis](int C) -> std::vector<Input> {
          return {{{C, 3, 4, C}}, {{axis < 0 ? 1 : C}, Values::kTiny}};
        });
  // So many boxes that most predictors answer for one: a gradient of zeros proves nothing.
  add(
      "yolo_loss",
      [](int C) {
        return Json{{"anchors", {3, 4, 20, 30, 31, 22}},
                    {"mask", {2, 1}},
                    {"classes", C + 1},
                    {"downsample", 16},
                    {"ignore_threshold", 0.3},
                    {"label_smooth", true}};
      },
      [](int C) -> std::vector<Input> {
        return {{{2, 3, 2, 2 * (6 + C)}}, {{2, 40, 6}, Values::kBoxes, true}};
      });

  for (const bool training : {true, false})
    add(
        "batch_norm",
        fixed(R"({"eps": 0.01, "momentum": 0.3, "slope": 0.1, "cap": 8, "has_residual": true})"),
        [](int C) {
          return std::vector<Input>{{{3, 4, 5, C}}} + norm_parameters(C) +
                 std::vector<Input>{{{3, 4, 5, C}, Values::kSmall}};
        },
        training);
  add("linear", fixed(R"({"slope": 0.1, "cap": 8, "has_bias": true})"), [](int C) -> std::vector<Input> {
    return {{{5, C}, Values::kSmall}, {{7, C}, Values::kSmall}, {{7}, Values::kFar}};
  });
  add("linear", fixed(R"({"slope": 1, "cap": 1e30, "has_bias": false})"), [](int C) -> std::vector<Input> {
    return {{{4, 6}}, {{C, 6}}};
  });
  add("conv2d", fixed(kConvolution), [](int C) { return convolution(C, 5, false); });
  add("conv2d", fixed(kConvolution), [](int C) { return convolution(3, C, false); });
  add("depthwise_conv2d", fixed(kConvolution), [](int C) { return convolution(C, C, true); });

  for (const bool training : {true, false}) {
    add(
        "normed_conv2d", fixed(kNormedConvolution),
        [training](int C) { return normed_convolution(C, 5, false, training); }, training);
    add(
        "normed_conv2d", fixed(kNormedConvolution),
        [training](int C) { return normed_convolution(3, C, false, training); }, training);
    add(
        "normed_depthwise_conv2d", fixed(kNormedConvolution),
        [training](int C) { return normed_convolution(C, C, true, training); }, training);
    add(
        "normalize",
        // Whole gradients are of x and its moments together, which makes no difference outside training.
        fixed(
            training
                ? R"({"eps": 0.01, "momentum": 0.3, "slope": 0.1, "cap": 8, "has_residual": true, "whole": false})"
                : R"({"eps": 0.01, "momentum": 0.3, "slope": 0.1, "cap": 8, "has_residual": true, "whole": true})"),
        [training](int C) {
          return std::vector<Input>{{{3, 4, 5, C}}, {{2, C}, Values::kMoments, !training}} +
                 norm_parameters(C) + std::vector<Input>{{{3, 4, 5, C}, Values::kSmall}};
        },
        training);
  }

  add("quantize", fixed(R"({"scale": 0.02, "out": "u8"})"), [](int C) -> std::vector<Input> {
    return {{{2, 3, 4, C}, Values::kNormal, true}};
  });
  add("dequantize", fixed(R"({"scale": 0.02})"), [](int C) -> std::vector<Input> {
    return {{{2, 3, 4, C}, Values::kCodes, true, kS8}};
  });
  add("quantized_add", fixed(R"({"a_factor": 0.4, "b_factor": 0.7, "low": 2, "high": 200, "out": "u8"})"),
      [](int C) -> std::vector<Input> {
        return {{{2, 3, 4, C}, Values::kCodes, true, kU8}, {{2, 3, 4, C}, Values::kCodes, true, kS8}};
      });
  add("quantized_global_avg_pool", fixed("{}"), [](int C) -> std::vector<Input> {
    return {{{3, 4, 5, C}, Values::kCodes, true, kU8}};
  });
  for (const DType type : {kS8, kU8}) {
    add("quantized_max_pool", fixed(R"({"kernel": 3, "stride": 1, "pad": [1, 0, 2, 1]})"),
        [type](int C) -> std::vector<Input> {
          return {{{2, 4, 5, C}, Values::kCodes, true, type}};
        });
    add("quantized_resize", fixed(R"({"height": 7, "width": 3, "bilinear": true, "align_corners": true})"),
        [type](int C) -> std::vector<Input> {
          return {{{2, 4, 5, C}, Values::kCodes, true, type}};
        });
    for (const bool bilinear : {false, true})
      add(
          "quantized_resize",
          [bilinear](int) {
            return Json{{"height", 0}, {"width", 0}, {"bilinear", bilinear}, {"align_corners", false}};
          },
          [type](int C) -> std::vector<Input> {
            return {{{2, 4, 5, C}, Values::kCodes, true, type}, {{2, 9, 3, 1}, Values::kNormal, true}};
          });
  }
  add("quantized_conv2d", fixed(kQuantizedConvolution),
      [](int C) { return quantized_convolution(C, 5, false); });
  add("quantized_conv2d", fixed(kQuantizedConvolution),
      [](int C) { return quantized_convolution(3, C, false); });
  add("quantized_depthwise_conv2d", fixed(kQuantizedConvolution),
      [](int C) { return quantized_convolution(C, C, true); });
  add("quantized_linear", fixed(kQuantizedConvolution), [](int C) -> std::vector<Input> {
    return {{{5, C}, Values::kCodes, true, kS8},
            {{7, C}, Values::kCodes, true, kS8},
            {{7}, Values::kCodes, true, kS32},
            {{7}, Values::kTiny, true},
            {{5, 7}, Values::kCodes, true, kU8}};
  });
  return cases;
}

}  // namespace

std::string OpCase::describe(int C) const {
  return str(op, training ? " (training) " : " ", attributes(C).dump(), " with ", C, " channels");
}

std::shared_ptr<Op> OpCase::make(int C) const {
  const std::shared_ptr<Op> made = make_op(op);
  attributes_from_json(*made, attributes(C));
  return made;
}

Tensors OpCase::tensors(int C, Device device) const {
  Tensors made;
  for (const Input& input : inputs(C)) made.push_back(make_tensor(input, 11 + made.size(), device));
  return made;
}

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = make_cases();
  return cases;
}

}  // namespace espalier::test
