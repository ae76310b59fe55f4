// The GPU's INT8 loops, run in the emulator, bit for bit against the shared bodies.

#include "kernels/quantized_tiles.h"
#include "kernels/quantized_elementwise.h"
#include "kernels/quantized_maps.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "ops/convolution_cases.h"
#include "support/emulated_machine.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using kernels::Code;
using kernels::ConvShape;

std::vector<uint8_t> codes(int64_t count, int low, int high, uint64_t seed) {
  Random random(seed, Purpose::kTest);
  std::vector<uint8_t> out(static_cast<size_t>(count));
  for (uint8_t& c : out)
    c = static_cast<uint8_t>(static_cast<int>(std::floor(random.uniform(low, high + 1))));
  return out;
}

struct Problem {
  ConvShape s;
  Code x_code, y_code;
  bool depthwise;
  int64_t outputs;
  std::vector<uint8_t> x, w, residual;
  std::vector<int32_t> bias;
  Tensor multiplier;
  kernels::Requantize r;

  Problem(ConvShape shape, bool depthwise, Code x_code, Code y_code, bool with_residual)
      : s(shape), x_code(x_code), y_code(y_code), depthwise(depthwise) {
    if (depthwise) s.K = s.C;
    outputs = int64_t{s.N} * s.P() * s.Q() * s.K;
    const bool u8 = x_code == Code::kU8;
    x = codes(int64_t{s.N} * s.H * s.W * s.C, u8 ? 0 : -127, u8 ? 255 : 127, 1);
    w = codes(int64_t{s.R} * s.S * s.C * (depthwise ? 1 : s.K), -127, 127, 2);
    residual = codes(outputs, -127, 127, 3);
    for (int k = 0; k < s.K; ++k) bias.push_back(37 * k - 500);
    multiplier = random_tensor({s.K}, Device::kCpu, 4);
    const float terms = static_cast<float>(s.R * s.S * (depthwise ? 1 : s.C));
    for (int k = 0; k < s.K; ++k)
      multiplier.f32()[k] = (std::abs(multiplier.f32()[k]) + 0.1f) / (60.0f * std::sqrt(terms));
    r.bias = bias.data();
    r.multiplier = multiplier.f32();
    if (with_residual) r.residual = residual.data();
    r.residual_code = Code::kS8;
    r.residual_factor = 0.37f;
    r.slope = y_code == Code::kS8 ? 0.1f : 1.0f;
    if (y_code == Code::kU8) r.low = 0, r.high = 200;
  }

  std::vector<uint8_t> output() const {
    return std::vector<uint8_t>(static_cast<size_t>(outputs) * (y_code == Code::kF32 ? 4 : 1), 0xee);
  }
  const int8_t* filters() const { return reinterpret_cast<const int8_t*>(w.data()); }

  std::vector<uint8_t> want() const {
    const ReferenceKernels reference;
    std::vector<uint8_t> y = output();
    (depthwise ? kernels::quantized_depthwise : kernels::quantized_conv2d)(Device::kCpu, s, x_code, x.data(),
                                                                           filters(), r, y_code, y.data());
    return y;
  }
  std::vector<uint8_t> got(Schedule schedule) const {
    EmulatedMachine machine{.schedule = schedule};
    std::vector<uint8_t> y = output();
    if (depthwise)
      kernels::tiles::quantized_depthwise(machine, s, x_code, x.data(), filters(), r, y_code, y.data());
    else
      kernels::tiles::quantized_conv2d(machine, s, x_code, x.data(), filters(), r, y_code, y.data());
    return y;
  }
};

struct Types {
  Code x, y;
  bool residual;
};
constexpr Types kTypes[] = {
    {Code::kU8, Code::kS8, true}, {Code::kS8, Code::kU8, false}, {Code::kU8, Code::kF32, false}};

TEST(QuantizedTiles, DenseEqualsTheSharedBodyBitForBit) {
  for (const ConvShape& s : kConvCases)
    for (const Types& t : kTypes) {
      SCOPED_TRACE(str(describe(s), " types ", static_cast<int>(t.x), ' ', static_cast<int>(t.y)));
      const Problem p(s, false, t.x, t.y, t.residual);
      EXPECT_EQ(p.got(Schedule::kForwardLate), p.want());
    }
}

TEST(QuantizedTiles, PartsAndWideLayers) {
  for (const ConvShape& s : {ConvShape{1, 5, 6, 1280, 36, 1, 1, 1, {}},  // several parts
                             ConvShape{1, 7, 7, 160, 70, 3, 3, 1, {1, 1, 1, 1}},
                             ConvShape{1, 150, 160, 16, 96, 1, 1, 1, {}}}) {  // enough rows for larger tiles
    SCOPED_TRACE(describe(s));
    const Problem p(s, false, Code::kU8, Code::kU8, false);
    for (const Schedule schedule : {Schedule::kForwardLate, Schedule::kBackwardEarly})
      EXPECT_EQ(p.got(schedule), p.want());
  }
}

TEST(QuantizedTiles, DepthwiseEqualsTheSharedBodyBitForBit) {
  for (const ConvShape& s :
       {ConvShape{2, 5, 6, 12, 12, 3, 3, 1, {1, 1, 1, 1}}, ConvShape{1, 9, 11, 36, 36, 3, 3, 1, {1, 1, 1, 1}},
        ConvShape{2, 7, 6, 8, 8, 3, 3, 2, {1, 1, 1, 1}}, ConvShape{2, 8, 8, 32, 32, 3, 3, 2, {0, 0, 1, 1}},
        ConvShape{2, 3, 2, 20, 20, 3, 3, 1, {1, 1, 1, 1}}, ConvShape{1, 6, 7, 4, 4, 3, 3, 1, {4, 5, 3, 6}},
        ConvShape{3, 17, 19, 16, 16, 3, 3, 1, {0, 0, 0, 0}}})
    for (const Types& t : kTypes) {
      SCOPED_TRACE(str(describe(s), " types ", static_cast<int>(t.x), ' ', static_cast<int>(t.y)));
      const Problem p(s, true, t.x, t.y, t.residual);
      ASSERT_TRUE(kernels::tiles::takes_quantized_depthwise(p.s, t.x));
      EXPECT_EQ(p.got(Schedule::kForwardLate), p.want());
    }
}

TEST(QuantizedMaps, EqualTheSharedBodiesBitForBit) {
  namespace pixels = kernels::pixels;
  const ReferenceKernels reference;
  constexpr int kCodes = 4 * 301;
  const Tensor x = random_tensor({kCodes}, Device::kCpu, 1);
  const std::vector<uint8_t> a = codes(kCodes, 0, 255, 2), b = codes(kCodes, -127, 127, 3);
  std::vector<uint8_t> got(kCodes), want(kCodes);
  const auto words = [](auto& bytes) {
    return reinterpret_cast<uint32_t*>(const_cast<uint8_t*>(bytes.data()));
  };
  EmulatedMachine machine;
  kernels::quantize(Device::kCpu, kCodes, x.f32(), 60.0f, -127, 127, Code::kS8, want.data());
  pixels::for_each_unit(machine, kCodes / 4, 1, pixels::QuantizeFour{x.f32(), 60.0f, -127, 127, words(got)});
  EXPECT_EQ(got, want);
  for (const auto& [low, high, code] : {std::tuple{0, 255, Code::kU8}, std::tuple{-127, 127, Code::kS8}}) {
    kernels::quantized_add(Device::kCpu, kCodes, Code::kU8, a.data(), 0.4f, Code::kS8, b.data(), 0.9f, low,
                           high, code, want.data());
    pixels::for_each_unit(
        machine, kCodes / 4, 1,
        pixels::AddFour{Code::kU8, Code::kS8, words(a), words(b), 0.4f, 0.9f, low, high, words(got)});
    EXPECT_EQ(got, want);
  }
}

}  // namespace
}  // namespace espalier::test
