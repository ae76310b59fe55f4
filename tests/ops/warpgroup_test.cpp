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
        EmulatedMachine machine{.schedule = schedule};
        const Tensor y(dy.shape(), Device::kCpu, DType::kBF16);
        tiles::group_gemm(machine, width, gather, s.K, x.bf16(), w.bf16(), {}, y.bf16());
        EXPECT_TRUE(expect_close(y.to_vector(), want.y.value, {kBf16Relative, 1e-2}))
            << static_cast<int>(width) << " columns";
      }
  }
}

TEST(Warpgroups, FilterGradientMatchesTheFormula) {
  for (ConvShape s : kShapes) {
    s.K = (s.K + 7) / 8 * 8;
    SCOPED_TRACE(describe(s));
    const Tensor x = as_bf16(random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1)),
                 w = Tensor::zeros({s.K, s.R, s.S, s.C}),
                 dy = as_bf16(random_tensor({s.N, s.P(), s.Q(), s.K}, Device::kCpu, 3));
    const ConvReference want = conv_reference(s, false, as_f32(x), w, as_f32(dy));
    const Gather gather = tiles::forward_gather(s);
    ASSERT_TRUE(tiles::takes_group_gradient(gather, s.K));
    for (const auto tile : {tiles::GroupGradientTile::k64x256, tiles::GroupGradientTile::k128x128})
      for (const Schedule schedule : kSchedules) {
        EmulatedMachine machine{.schedule = schedule};
        const Tensor dw(w.shape());
        tiles::group_filter_gradient(machine, tile, gather, s.K, x.bf16(), dy.bf16(), dw.f32());
        EXPECT_TRUE(expect_sums(dw, want.dw)) << static_cast<int>(tile);
      }
  }
}

}  // namespace
}  // namespace espalier::test
