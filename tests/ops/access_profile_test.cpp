// How the GPU's loops access memory, on layers of the networks: what they promise of banks and sectors,
// counted in the emulator.

#include "support/access_profile.h"

#include <gtest/gtest.h>

#include "kernels/channel_sums.h"
#include "kernels/depthwise_passes.h"
#include "kernels/few_filters_gradient.h"
#include "kernels/pixel_maps.h"
#include "kernels/warpgroup_tiles.h"
#include "support/bf16.h"
#include "support/emulated_machine.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using kernels::ConvShape;
using kernels::Precision;
namespace tiles = kernels::tiles;

// --- the profile itself
// ----------------------------------------------------------------------------------------------

/// One request of a warp, `lane` of which accesses place(lane).
template <class Place>
AccessProfile::Totals request(int64_t bytes, bool shared, const Place& place) {
  alignas(128) static char memory[64 * 1024];
  AccessProfile profile;
  for (int lane = 0; lane < 32; ++lane)
    profile.access(lane, memory + place(lane), bytes, shared ? memory : nullptr, memory);
  profile.end_of_requests();
  return profile.totals();
}

TEST(AccessProfile, CountsPassesThroughBanks) {
  const auto passes = [](int64_t bytes, auto place) { return request(bytes, true, place).shared.passes; };
  EXPECT_EQ(passes(4, [](int lane) { return 4 * lane; }), 1);
  EXPECT_EQ(passes(4, [](int) { return 40; }), 1);  // the same word
  EXPECT_EQ(passes(4, [](int lane) { return 8 * lane; }), 2);
  EXPECT_EQ(passes(4, [](int lane) { return 128 * lane; }), 32);  // the same bank
  EXPECT_EQ(passes(4, [](int lane) { return 132 * lane; }), 1);
  EXPECT_EQ(passes(2, [](int lane) { return 2 * lane; }), 1);    // two lanes a word
  EXPECT_EQ(passes(8, [](int lane) { return 8 * lane; }), 2);    // half the lanes at a time
  EXPECT_EQ(passes(16, [](int lane) { return 16 * lane; }), 4);  // a quarter
  EXPECT_EQ(passes(16, [](int lane) { return 32 * lane; }), 8);
  EXPECT_EQ(passes(16, [](int lane) { return 128 * lane; }), 32);
  EXPECT_EQ(request(16, true, [](int lane) { return 16 * lane; }).shared.ratio(), 1);
  EXPECT_EQ(request(16, true, [](int lane) { return 32 * lane; }).shared.ratio(), 2);
}

TEST(AccessProfile, CountsSectors) {
  const auto sectors = [](int64_t bytes, auto place) { return request(bytes, false, place).global; };
  EXPECT_EQ(sectors(4, [](int lane) { return 4 * lane; }).passes, 4);
  EXPECT_EQ(sectors(4, [](int lane) { return 4 * lane + 4; }).passes, 5);
  EXPECT_EQ(sectors(4, [](int lane) { return 32 * lane; }).passes, 32);
  EXPECT_EQ(sectors(4, [](int lane) { return 32 * lane; }).ratio(), 8);
  EXPECT_EQ(sectors(16, [](int lane) { return 16 * lane; }).ratio(), 1);
}

/// Lanes that do not take part ask for nothing; a lane's second access belongs to the second request.
TEST(AccessProfile, PutsTheLanesAccessesTogether) {
  alignas(128) char memory[1024];
  AccessProfile profile;
  for (int lane = 0; lane < 8; ++lane)
    for (int k = 0; k < 2; ++k) profile.access(lane, memory + 256 * k + 4 * lane, 4, nullptr, memory);
  profile.end_of_requests();
  EXPECT_EQ(profile.totals().global.requests, 2);
  EXPECT_EQ(profile.totals().global.passes, 2);
  EXPECT_EQ(profile.totals().shared.requests, 0);
}

// --- loops
// -----------------------------------------------------------------------------------------------------------

#ifndef __SANITIZE_ADDRESS__  // which takes the place of what sees their accesses

struct Stored {
  Tensor x, w, dy, y, dx, dw;
  explicit Stored(const ConvShape& s)
      : x(as_bf16(random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1))),
        w(as_bf16(random_tensor({s.K, s.R, s.S, s.C}, Device::kCpu, 2))),
        dy(as_bf16(random_tensor({s.N, s.P(), s.Q(), s.K}, Device::kCpu, 3))),
        y(dy.shape(), Device::kCpu, DType::kBF16),
        dx(x.shape(), Device::kCpu, DType::kBF16),
        dw(w.shape()) {}
};

struct Most {
  double shared, global;
};

template <class Run>
void expect_at_most(const Most& most, const Run& run) {
  AccessProfile profile;
  EmulatedMachine machine = hopper();
  machine.profile = &profile;
  run(machine);
  const auto [shared, global] = profile.totals();
  EXPECT_GT(global.requests, 0);
  EXPECT_LE(shared.ratio(), most.shared) << profile.report();
  EXPECT_LE(global.ratio(), most.global) << profile.report();
}

TEST(AccessProfile, OfHoppersProducts) {
  const ConvShape s{1, 6, 64, 64, 128, 3, 3, 1, {1, 1, 1, 1}};
  const Stored t(s);
  const auto gather = tiles::forward_gather(s);
  expect_at_most({1.0, 1.01}, [&](auto& machine) {
    tiles::group_gemm(machine, tiles::GroupWidth::k128, gather, s.K, t.x.bf16(), t.w.bf16(), {}, t.y.bf16());
  });
  expect_at_most({1.0, 1.01}, [&](auto& machine) {
    tiles::group_filter_gradient(machine, tiles::GroupGradientTile::k128x128, gather, s.K, t.x.bf16(),
                                 t.dy.bf16(), t.dw.f32());
  });
  expect_at_most({1.0, 1.01}, [&](auto& machine) {
    tiles::tap_filter_gradient(machine, gather, s.K, t.x.bf16(), t.dy.bf16(), t.dw.f32());
  });
}

TEST(AccessProfile, OfFewFilters) {
  const ConvShape s{1, 4, 256, 64, 2, 3, 3, 1, {1, 1, 1, 1}};
  const Stored t(s);
  expect_at_most({1.02, 1.1}, [&](auto& machine) {
    kernels::few_filters::filter_gradient(machine, Precision::kBf16, s, t.x.bf16(), t.dy.bf16(), t.dw.f32());
  });
}

/// Channels in groups of 96 bytes begin their pixels at banks that overlap: copies of such take two passes,
/// which are a fifth of the loop's; the bus to the memory is what it waits for.
TEST(AccessProfile, OfDepthwiseRows) {
  for (const auto& [s, shared] : {std::pair{ConvShape{1, 8, 112, 96, 96, 3, 3, 2, {1, 1, 1, 1}}, 1.1},
                                  std::pair{ConvShape{1, 8, 56, 144, 144, 3, 3, 1, {1, 1, 1, 1}}, 1.4}}) {
    const Stored t(s);
    const Tensor w = random_tensor({s.R, s.S, s.C}, Device::kCpu, 2), dw(w.shape());
    expect_at_most({shared, 1.03}, [&](auto& machine) {
      kernels::strips::forward(machine, s, t.x.bf16(), {}, w.f32(), {}, t.y.bf16());
    });
    expect_at_most({shared, 1.03}, [&](auto& machine) {
      kernels::strips::backward_x(machine, s, t.dy.bf16(), w.f32(), t.dx.bf16());
    });
    expect_at_most({shared, 1.03}, [&](auto& machine) {
      kernels::strips::backward_w(machine, s, t.x.bf16(), {}, t.dy.bf16(), dw.f32());
    });
  }
}

/// One access of 16 bytes for eight channels: every sector is whole.
TEST(AccessProfile, OfResizes) {
  const kernels::ResizeShape s{1, 16, 16, 64, 32, 32, kernels::Sampling::kHalfPixel};
  const Tensor small = as_bf16(random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1)),
               large = as_bf16(random_tensor({s.N, s.P, s.Q, s.C}, Device::kCpu, 2));
  namespace pixels = kernels::pixels;
  expect_at_most({1.0, 1.0}, [&](auto& machine) {
    pixels::for_each_unit(machine, s.N * s.P * s.Q, s.C / 8,
                          pixels::ResizeForward<Bf16, 8>{s, small.bf16(), large.bf16()});
  });
  expect_at_most({1.0, 1.0}, [&](auto& machine) {
    pixels::for_each_unit(machine, s.N * s.H * s.W, s.C / 8,
                          pixels::ResizeBackwardOfFew<Bf16, 8>{s, large.bf16(), small.bf16()});
  });
}

TEST(AccessProfile, OfANormsSums) {
  constexpr int kRows = 3000, kChannels = 96;
  const Tensor x = as_bf16(random_tensor({kRows, kChannels}, Device::kCpu, 1)), moments({2, kChannels});
  expect_at_most({1.5, 1.03}, [&](auto& machine) {
    kernels::channels::moments(machine, kRows, kChannels, x.bf16(), moments.f32(), moments.f32() + kChannels);
  });
}

#endif

}  // namespace
}  // namespace espalier::test
