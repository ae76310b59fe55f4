// Convolutions on Hopper's tensor cores, run in the emulator: bf16 against the formula in double, codes bit
// for bit against exact sums.

#include <gtest/gtest.h>

#include "kernels/warpgroup_tiles.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "support/bf16.h"
#include "support/emulated_machine.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using kernels::ConvShape;
using kernels::Gather;
namespace tiles = kernels::tiles;

constexpr Schedule kSchedules[] = {Schedule::kForwardLate, Schedule::kBackwardEarly};
constexpr tiles::GroupWidth kWidths[] = {tiles::GroupWidth::k64, tiles::GroupWidth::k128,
                                         tiles::GroupWidth::k256};

// Channels in whole steps and not, one tap and several, strides, tails of rows and columns, odd columns, and
// sums long enough for several parts.
constexpr ConvShape kShapes[] = {{2, 9, 14, 64, 40, 3, 3, 1, {1, 1, 1, 1}},
                                 {1, 12, 11, 72, 136, 1, 1, 1, {}},
                                 {2, 8, 9, 24, 37, 3, 3, 2, {0, 0, 1, 1}},
                                 {1, 5, 7, 128, 260, 3, 3, 1, {1, 1, 1, 1}},
                                 {1, 3, 3, 8, 8, 1, 1, 1, {}},
                                 {1, 2, 9, 16, 12, 5, 2, 1, {2, 1, 2, 0}}};

TEST(Warpgroups, MatchTheFormula) {
  for (const ConvShape& s : kShapes) {
    SCOPED_TRACE(describe(s));
    const Tensor x = as_bf16(random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1)),
                 w = as_bf16(random_tensor({s.K, s.R, s.S, s.C}, Device::kCpu, 2)),
                 dy = Tensor::zeros({s.N, s.P(), s.Q(), s.K});
    const ConvReference want = conv_reference(s, false, as_f32(x), as_f32(w), dy);
    const Gather gather = tiles::forward_gather(s);
    ASSERT_TRUE(tiles::takes_groups<Bf16>(gather));
    for (const tiles::GroupWidth width : kWidths)
      for (const Schedule schedule : kSchedules) {
        EmulatedMachine machine = hopper(schedule);
        const Tensor y(dy.shape(), Device::kCpu, DType::kBF16);
        tiles::group_gemm(machine, width, gather, s.K, x.bf16(), w.bf16(), {}, y.bf16());
        EXPECT_TRUE(expect_close(y.to_vector(), want.y.value, {kBf16Relative, 1e-2}))
            << static_cast<int>(width) << " columns";
      }
  }
}

/// One filter gradient, of numbers that bf16 holds.
struct FilterGradient {
  ConvShape s;
  Tensor x, w, dy;
  ConvReference want;
  explicit FilterGradient(const ConvShape& s)
      : s(s),
        x(as_bf16(random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1))),
        w(Tensor::zeros({s.K, s.R, s.S, s.C})),
        dy(as_bf16(random_tensor({s.N, s.P(), s.Q(), s.K}, Device::kCpu, 3))),
        want(conv_reference(s, false, as_f32(x), w, as_f32(dy))) {}
};

TEST(Warpgroups, FilterGradientMatchesTheFormula) {
  for (ConvShape s : kShapes) {
    s.K = (s.K + 7) / 8 * 8;
    SCOPED_TRACE(describe(s));
    const FilterGradient p(s);
    const Gather gather = tiles::forward_gather(s);
    ASSERT_TRUE(tiles::takes_group_gradient(gather, s.K));
    for (const auto tile : {tiles::GroupGradientTile::k64x256, tiles::GroupGradientTile::k128x128})
      for (const Schedule schedule : kSchedules) {
        EmulatedMachine machine = hopper(schedule);
        const Tensor dw(p.w.shape());
        tiles::group_filter_gradient(machine, tile, gather, s.K, p.x.bf16(), p.dy.bf16(), dw.f32());
        EXPECT_TRUE(expect_sums(dw, p.want.dw)) << static_cast<int>(tile);
      }
  }
}

// Strips of each width, one and several; images below each other with one row of padding between them and
// with two; parts that go round the buffers, and begin within an image.
constexpr ConvShape kOfTaps[] = {
    {2, 19, 64, 64, 64, 3, 3, 1, {1, 1, 1, 1}}, {1, 9, 128, 8, 8, 3, 3, 1, {1, 1, 1, 1}},
    {3, 20, 30, 72, 16, 3, 3, 1, {1, 1, 1, 1}}, {2, 90, 14, 16, 72, 3, 3, 1, {1, 1, 1, 1}},
    {1, 7, 70, 24, 8, 3, 3, 1, {1, 1, 1, 1}},   {3, 11, 60, 16, 24, 3, 3, 1, {0, 0, 0, 0}},
    {2, 6, 27, 16, 8, 3, 3, 1, {2, 2, 0, 1}},   {2, 5, 15, 8, 16, 3, 3, 1, {0, 1, 2, 0}},
    {2, 6, 9, 8, 8, 3, 3, 1, {4, 5, 3, 6}},     {3, 1, 1, 8, 8, 3, 3, 1, {1, 1, 1, 1}}};

TEST(Warpgroups, FilterGradientByTapsMatchesTheFormula) {
  for (const ConvShape& s : kOfTaps) {
    SCOPED_TRACE(describe(s));
    const FilterGradient p(s);
    const Gather gather = tiles::forward_gather(s);
    ASSERT_TRUE(tiles::takes_tap_gradient(gather, s.K));
    for (const Schedule schedule : kSchedules) {
      EmulatedMachine machine = hopper(schedule);
      const Tensor dw(p.w.shape());
      tiles::tap_filter_gradient(machine, gather, s.K, p.x.bf16(), p.dy.bf16(), dw.f32());
      EXPECT_TRUE(expect_sums(dw, p.want.dw));
    }
  }
}

TEST(Warpgroups, LeaveOtherFiltersToTheTiles) {
  const auto takes = [](const ConvShape& s) {
    return tiles::takes_tap_gradient(tiles::forward_gather(s), s.K);
  };
  EXPECT_FALSE(takes({1, 9, 9, 8, 8, 1, 1, 1, {}}));
  EXPECT_FALSE(takes({1, 9, 9, 8, 8, 3, 3, 2, {}}));
  EXPECT_FALSE(takes({1, 9, 9, 12, 8, 3, 3, 1, {}}));
  EXPECT_FALSE(takes({1, 9, 9, 8, 12, 3, 3, 1, {}}));
}

}  // namespace
}  // namespace espalier::test
