// The GPU's INT8 loops, run in the emulator, bit for bit against the shared bodies.

#include "kernels/quantized_tiles.h"
#include "kernels/quantized_elementwise.h"
#include "kernels/quantized_groups.h"
#include "kernels/quantized_maps.h"
#include "kernels/quantized_means.h"
#include "kernels/quantized_resample.h"
#include "kernels/quantized_resample_maps.h"

#include <gtest/gtest.h>

#include "ops/convolution_cases.h"
#include "ops/quantized_problem.h"
#include "support/emulated_machine.h"

namespace espalier::test {
namespace {

struct Problem : QuantizedProblem {
  using QuantizedProblem::QuantizedProblem;

  kernels::tiles::CodeOutput stores(std::vector<uint8_t>& y) const {
    return {r, s.K, 0, s.K % 4 == 0, y_code, y.data(), nullptr};
  }
  /// What one loop makes of it, whatever a dispatcher would choose.
  template <class Kernel>
  std::vector<uint8_t> of(Schedule schedule) const {
    EmulatedMachine machine{.schedule = schedule};
    std::vector<uint8_t> y = output();
    const Kernel kernel(s, x.data(), filters(), stores(y));
    machine.launch(kernel, kernel.blocks(), 1);
    return y;
  }
  std::vector<uint8_t> got(Schedule schedule, int* launches = nullptr) const {
    EmulatedMachine machine{.schedule = schedule};
    std::vector<uint8_t> y = output();
    if (depthwise)
      kernels::tiles::quantized_depthwise(machine, s, x_code, x.data(), filters(), r, y_code, y.data());
    else
      kernels::tiles::quantized_conv2d(machine, s, x_code, x.data(), filters(), r, y_code, y.data());
    if (launches) *launches = machine.launches;
    return y;
  }
};

TEST(QuantizedTiles, DenseEqualsTheSharedBodyBitForBit) {
  for (const ConvShape& s : kConvCases)
    for (const Types& t : kTypes) {
      SCOPED_TRACE(str(describe(s), " types ", static_cast<int>(t.x), ' ', static_cast<int>(t.y)));
      const Problem p(s, false, t.x, t.y, t.residual);
      EXPECT_EQ(p.got(Schedule::kForwardLate), p.want());
    }
}

constexpr Schedule kSchedules[] = {Schedule::kForwardLate, Schedule::kBackwardEarly};

TEST(QuantizedTiles, PartsAndWideLayers) {
  for (const ConvShape& s : {ConvShape{1, 5, 6, 1344, 36, 1, 1, 1, {}},  // several parts
                             ConvShape{1, 7, 7, 160, 70, 3, 3, 1, {1, 1, 1, 1}},
                             ConvShape{1, 140, 150, 16, 96, 3, 1, 1, {1, 0, 1, 0}}}) {  // larger tiles
    SCOPED_TRACE(describe(s));
    const Problem p(s, false, Code::kU8, Code::kU8, false);
    for (const Schedule schedule : kSchedules) EXPECT_EQ(p.got(schedule), p.want());
  }
}

TEST(QuantizedTiles, FewChannelsInBothHeights) {
  using kernels::tiles::FewChannels;
  for (const ConvShape& s :
       {ConvShape{2, 19, 21, 3, 32, 3, 3, 2, {0, 0, 1, 1}},  // a network's first layer
        ConvShape{1, 18, 33, 3, 64, 3, 3, 1, {1, 1, 1, 1}},  // two runs of filters
        ConvShape{1, 35, 18, 1, 40, 7, 7, 2, {3, 3, 3, 3}},  // the largest filter, a run with a tail
        ConvShape{1, 17, 5, 4, 100, 7, 5, 1, {2, 4, 3, 1}},  // several blocks of filters
        ConvShape{1, 9, 40, 2, 7, 2, 4, 2, {0, 5, 3, 0}},    // filters that fill no words
        ConvShape{2, 3, 2, 3, 12, 1, 1, 1, {}}})             // one tap
    for (const Types& t : kTypes)
      for (const Schedule schedule : kSchedules) {
        SCOPED_TRACE(str(describe(s), " types ", static_cast<int>(t.x), ' ', static_cast<int>(t.y)));
        const Problem p(s, false, t.x, t.y, t.residual);
        ASSERT_TRUE(kernels::tiles::takes_few_channels(s));
        const auto check = [&]<bool kUnsigned, int kStride>() {
          const std::vector<uint8_t> want = p.want();
          EXPECT_EQ((p.of<FewChannels<kUnsigned, kStride, 1, false>>(schedule)), want);
          if (s.K % 8 || t.y == Code::kF32) return;
          EXPECT_EQ((p.of<FewChannels<kUnsigned, kStride, 1, true>>(schedule)), want);
          EXPECT_EQ((p.of<FewChannels<kUnsigned, kStride, 2, true>>(schedule)), want);
        };
        if (t.x == Code::kU8)
          s.stride == 1 ? check.operator()<true, 1>() : check.operator()<true, 2>();
        else
          s.stride == 1 ? check.operator()<false, 1>() : check.operator()<false, 2>();
      }
}

TEST(QuantizedTiles, HoppersInstructionsGiveTheSameBits) {
  using kernels::tiles::GroupWidth;
  for (const ConvShape& s : {ConvShape{2, 9, 14, 128, 72, 3, 3, 1, {1, 1, 1, 1}},   // channels in whole steps
                             ConvShape{1, 12, 11, 48, 133, 3, 3, 2, {0, 0, 1, 1}},  // and not
                             ConvShape{1, 5, 6, 1344, 36, 1, 1, 1, {}}})            // several parts
    for (const Types& t : kTypes) {
      SCOPED_TRACE(str(describe(s), " types ", static_cast<int>(t.x), ' ', static_cast<int>(t.y)));
      const Problem p(s, false, t.x, t.y, t.residual);
      const std::vector<uint8_t> want = p.want();
      for (const Schedule schedule : kSchedules)
        for (const GroupWidth width : {GroupWidth::k64, GroupWidth::k128, GroupWidth::k256}) {
          EmulatedMachine machine = hopper(schedule);
          std::vector<uint8_t> y = p.output();
          if (t.x == Code::kU8)
            kernels::tiles::quantized_groups<true>(machine, width, s, p.x.data(), p.filters(), p.r, t.y,
                                                   y.data());
          else
            kernels::tiles::quantized_groups<false>(machine, width, s, p.x.data(), p.filters(), p.r, t.y,
                                                    y.data());
          EXPECT_EQ(y, want) << static_cast<int>(width);
        }
    }
}

TEST(QuantizedTiles, SmallMatricesTakeOneLaunch) {
  for (const ConvShape& s : {ConvShape{1, 7, 7, 960, 160, 1, 1, 1, {}},    // depth over all warps
                             ConvShape{1, 1, 1, 1280, 1000, 1, 1, 1, {}},  // a classifier, one row
                             ConvShape{2, 5, 6, 24, 144, 1, 1, 1, {}},     // 8 bytes a copy
                             ConvShape{1, 3, 5, 136, 19, 1, 1, 1, {}},     // columns fill no words
                             ConvShape{1, 67, 33, 40, 120, 1, 1, 1, {}},   // a taller tile: 139 blocks
                             ConvShape{1, 71, 63, 16, 68, 1, 1, 1, {}}})   // the tallest: 210 blocks
    for (const Types& t : kTypes) {
      SCOPED_TRACE(str(describe(s), " types ", static_cast<int>(t.x), ' ', static_cast<int>(t.y)));
      const Problem p(s, false, t.x, t.y, t.residual);
      const std::vector<uint8_t> want = p.want();
      for (const Schedule schedule : kSchedules) {
        int launches = 0;
        EXPECT_EQ(p.got(schedule, &launches), want);
        EXPECT_EQ(launches, 1);
      }
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
      const std::vector<uint8_t> want = p.want();
      EXPECT_EQ(p.got(Schedule::kForwardLate), want);
      const auto check = [&]<bool kUnsigned, int kStride>() {
        using kernels::tiles::QuantizedDepthwise;
        EXPECT_EQ((p.of<QuantizedDepthwise<kUnsigned, kStride, 1>>(Schedule::kForwardLate)), want);
        EXPECT_EQ((p.of<QuantizedDepthwise<kUnsigned, kStride, 2>>(Schedule::kBackwardEarly)), want);
        EXPECT_EQ((p.of<QuantizedDepthwise<kUnsigned, kStride, 4>>(Schedule::kForwardLate)), want);
      };
      if (t.x == Code::kU8)
        s.stride == 1 ? check.operator()<true, 1>() : check.operator()<true, 2>();
      else
        s.stride == 1 ? check.operator()<false, 1>() : check.operator()<false, 2>();
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

TEST(QuantizedMaps, RoundAndClampAsTheSharedBodyDoes) {
  const ReferenceKernels reference;
  Tensor x({8});
  x.set(std::vector{0.5f, 1.5f, -0.5f, -2.5f, 3e9f, -3e9f, 126.5f, -126.50001f});
  std::vector<uint8_t> got(8), want(8);
  EmulatedMachine machine;
  kernels::quantize(Device::kCpu, 8, x.f32(), 1.0f, -127, 127, Code::kS8, want.data());
  kernels::pixels::for_each_unit(
      machine, 2, 1,
      kernels::pixels::QuantizeFour{x.f32(), 1.0f, -127, 127, reinterpret_cast<uint32_t*>(got.data())});
  EXPECT_EQ(got, want);
}

TEST(QuantizedMaps, MeansEqualTheSharedBodyBitForBit) {
  const ReferenceKernels reference;
  for (const auto& [N, pixels, C] :
       {std::tuple{1, 49, 1280}, std::tuple{3, 1, 4}, std::tuple{2, 300, 68}, std::tuple{1, 31, 36}})
    for (const Code code : {Code::kU8, Code::kS8}) {
      SCOPED_TRACE(str(N, " x ", pixels, " x ", C));
      const int low = code == Code::kU8 ? 0 : -127, high = code == Code::kU8 ? 255 : 127;
      const std::vector<uint8_t> x = codes(int64_t{N} * pixels * C, low, high, 1);
      std::vector<uint8_t> got(static_cast<size_t>(N) * C), want(got.size());
      kernels::quantized_global_avg_pool(Device::kCpu, N, pixels, C, code, x.data(), want.data());
      for (const Schedule schedule : kSchedules) {
        EmulatedMachine machine{.schedule = schedule};
        ASSERT_TRUE(kernels::channels::code_means(machine, N, pixels, C, code, x.data(), got.data()));
        EXPECT_EQ(got, want);
        std::fill(got.begin(), got.end(), uint8_t{0xee});
      }
    }
}

/// want(x, y) of the shared body, and map(machine, x, y) of a loop, for both codes of `inputs` elements.
template <class Want, class Got>
void expect_equal_codes(int64_t inputs, int64_t outputs, const Want& want, const Got& got) {
  for (const Code code : {Code::kU8, Code::kS8}) {
    SCOPED_TRACE(code == Code::kU8 ? "u8" : "s8");
    const auto [low, high] = code == Code::kU8 ? std::pair{0, 255} : std::pair{-128, 127};
    const std::vector<uint8_t> x = codes(inputs, low, high, 1);
    std::vector<uint8_t> expected(static_cast<size_t>(outputs)), y(expected.size(), 0xee);
    want(code, x.data(), expected.data());
    EmulatedMachine machine;
    ASSERT_TRUE(got(machine, code, x.data(), y.data()));
    EXPECT_EQ(y, expected);
  }
}

TEST(QuantizedMaps, PoolingEqualsTheSharedBodyBitForBit) {
  const ReferenceKernels reference;
  for (const ConvShape& s : {ConvShape{2, 6, 8, 32, 32, 2, 2, 2, {}},            // sixteen codes a thread
                             ConvShape{1, 7, 5, 12, 12, 3, 3, 2, {1, 1, 1, 1}},  // four
                             ConvShape{1, 5, 6, 16, 16, 3, 2, 1, {2, 1, 0, 1}}}) {
    SCOPED_TRACE(describe(s));
    expect_equal_codes(
        int64_t{s.N} * s.H * s.W * s.C, int64_t{s.N} * s.P() * s.Q() * s.C,
        [&](Code code, const void* x, void* y) { kernels::quantized_max_pool(Device::kCpu, s, code, x, y); },
        [&](auto& machine, Code code, const void* x, void* y) {
          return kernels::pixels::run_codes<kernels::pixels::MaxPoolCodes>(machine, s, code, x, y);
        });
  }
}

TEST(QuantizedMaps, ResizingEqualsTheSharedBodyBitForBit) {
  using kernels::Sampling;
  const ReferenceKernels reference;
  for (const auto sampling : {Sampling::kNearest, Sampling::kHalfPixel, Sampling::kAlignCorners})
    for (const auto& [H, W, C, P, Q] : {std::tuple{4, 5, 32, 8, 10}, std::tuple{7, 3, 12, 5, 9}}) {
      const kernels::ResizeShape s{2, H, W, C, P, Q, sampling};
      SCOPED_TRACE(str(H, 'x', W, 'x', C, " sampling ", static_cast<int>(sampling)));
      expect_equal_codes(
          int64_t{2} * H * W * C, int64_t{2} * P * Q * C,
          [&](Code code, const void* x, void* y) { kernels::quantized_resize(Device::kCpu, s, code, x, y); },
          [&](auto& machine, Code code, const void* x, void* y) {
            return kernels::pixels::run_codes<kernels::pixels::ResizeCodes>(machine, s, code, x, y);
          });
    }
}

}  // namespace
}  // namespace espalier::test
