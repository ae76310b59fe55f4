// The GPU's batch norm loops, run in the emulator, against the shared bodies.

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/batch_norm.h"
#include "kernels/channel_maps.h"
#include "kernels/conv2d.h"
#include "support/emulated_machine.h"
#include "support/expect_close.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

namespace channels = kernels::channels;

struct Extent {
  int rows, channels;
};
// One row; fewer rows than a block takes; several parts; a second block of channels.
constexpr Extent kExtents[] = {{1, 4}, {31, 8}, {33, 36}, {1500, 4}, {1025, 40}};

constexpr Schedule kSchedules[] = {Schedule::kForwardLate, Schedule::kBackwardEarly};

/// Up to 1500 terms of size one, in another order.
constexpr Tolerance kSums{1e-4, 1.0};

struct Norm {
  Tensor x, dy, residual, mean, inverse, scale, shift;
  kernels::BatchNormProblem problem;

  Norm(const Extent& e, Activation act, bool with_residual)
      : x(random_tensor({e.rows, e.channels}, Device::kCpu, 1)),
        dy(random_tensor({e.rows, e.channels}, Device::kCpu, 2)),
        residual(random_tensor({e.rows, e.channels}, Device::kCpu, 3)),
        mean(random_tensor({e.channels}, Device::kCpu, 4)),
        inverse(Tensor::full({e.channels}, 0.7f)),
        scale(random_tensor({e.channels}, Device::kCpu, 5)),
        shift(random_tensor({e.channels}, Device::kCpu, 6)),
        problem{e.rows,
                e.channels,
                x.f32(),
                mean.f32(),
                inverse.f32(),
                scale.f32(),
                shift.f32(),
                with_residual ? residual.f32() : nullptr,
                act} {}
};

TEST(ChannelSums, BatchNormEqualsTheSharedBody) {
  const ReferenceKernels reference;
  for (const Extent& e : kExtents)
    for (const Activation act : {Activation::none(), Activation::relu6(), Activation::leaky(0.1f)})
      for (const bool with_residual : {false, true}) {
        SCOPED_TRACE(str(e.rows, 'x', e.channels, " slope ", act.slope, " residual ", with_residual));
        const Norm n(e, act, with_residual);
        const Shape c{e.channels};
        const Tensor want(n.x.shape()), scale(c), shift(c), dx(n.x.shape()), dresidual(n.x.shape());
        kernels::batch_norm_forward(Device::kCpu, n.problem, want.f32());
        kernels::batch_norm_backward_parameters(Device::kCpu, n.problem, n.dy.f32(), scale.f32(),
                                                shift.f32());
        kernels::batch_norm_backward_x(Device::kCpu, n.problem, n.dy.f32(), scale.f32(), shift.f32(), true,
                                       dx.f32(), dresidual.f32());
        for (const Schedule schedule : kSchedules) {
          EmulatedMachine machine{.schedule = schedule};
          const Tensor y(n.x.shape()), dscale(c), dshift(c), got(n.x.shape()), got_residual(n.x.shape());
          channels::for_each_element(machine, e.rows, e.channels,
                                     channels::BatchNormForward{n.problem, y.f32()});
          EXPECT_TRUE(expect_close(y, want, {4e-6, 1.0}));  // a fused multiply-add is rounded once
          channels::sum(machine, e.rows, e.channels, channels::BatchNormGradients{n.problem, n.dy.f32()},
                        dscale.f32(), dshift.f32());
          EXPECT_TRUE(expect_close(dscale, scale, kSums));
          EXPECT_TRUE(expect_close(dshift, shift, kSums));
          channels::for_each_element(
              machine, e.rows, e.channels,
              channels::BatchNormBackwardX{n.problem, n.dy.f32(), scale.f32(), shift.f32(), true, got.f32(),
                                           got_residual.f32()});
          EXPECT_TRUE(expect_close(got, dx, {4e-6, 1.0}));  // products in another order
          EXPECT_TRUE(expect_close(got_residual, dresidual, kElementwise));
        }
      }
}

TEST(ChannelSums, MomentsFarFromZero) {
  for (const Extent& e : {Extent{33, 36}, Extent{1500, 4}, Extent{1025, 40}}) {
    SCOPED_TRACE(str(e.rows, 'x', e.channels));
    const Tensor x = random_tensor({e.rows, e.channels}, Device::kCpu, 1);
    for (int64_t i = 0; i < x.elements(); ++i)
      x.f32()[i] = x.f32()[i] * 0.01f + 100.0f * static_cast<float>(i % 3);
    const Shape c{e.channels};
    const Tensor mean(c), variance(c);
    {
      const ReferenceKernels reference;
      kernels::batch_norm_statistics(Device::kCpu, e.rows, e.channels, x.f32(), mean.f32(), variance.f32());
    }
    for (const Schedule schedule : kSchedules) {
      EmulatedMachine machine{.schedule = schedule};
      const Tensor got_mean(c), got_variance(c);
      channels::moments(machine, e.rows, e.channels, x.f32(), got_mean.f32(), got_variance.f32());
      EXPECT_TRUE(expect_close(got_mean, mean, {1e-6, 1.0}));
      EXPECT_TRUE(expect_close(got_variance, variance, {1e-5, 1e-4}));
    }
  }
}

TEST(ChannelSums, MomentsOfOneRowHaveNoVariance) {
  const Tensor x = random_tensor({1, 4}, Device::kCpu, 1), mean({4}), variance({4});
  EmulatedMachine machine;
  channels::moments(machine, 1, 4, x.f32(), mean.f32(), variance.f32());
  EXPECT_EQ(mean.to_vector(), x.to_vector());
  EXPECT_EQ(variance.to_vector(), std::vector<float>(4, 0.0f));
}

TEST(ChannelSums, SumOfRows) {
  const ReferenceKernels reference;
  for (const Extent& e : kExtents) {
    const Tensor x = random_tensor({e.rows, e.channels}, Device::kCpu, 1), want({e.channels}),
                 got({e.channels});
    kernels::sum_rows(Device::kCpu, e.rows, e.channels, x.f32(), want.f32());
    EmulatedMachine machine;
    channels::sum(machine, e.rows, e.channels, channels::Elements<float>{x.f32()}, got.f32(), nullptr);
    EXPECT_TRUE(expect_close(got, want, kSums));
  }
}

TEST(ChannelSums, OfChannelsThatFillNoGroups) {
  const ReferenceKernels reference;
  for (const auto& [rows, c] :
       {std::pair{1, 1}, std::pair{700, 33}, std::pair{513, 2}, std::pair{40009, 1}, std::pair{2000, 37}}) {
    SCOPED_TRACE(str(rows, 'x', c));
    const Tensor x = random_tensor({rows, c}, Device::kCpu, 1), want({c}), got({c});
    kernels::sum_rows(Device::kCpu, rows, c, x.f32(), want.f32());
    EmulatedMachine machine;
    channels::sum_columns(machine, rows, c, x.f32(), got.f32());
    EXPECT_TRUE(expect_close(got, want, c > 2 ? kSums : Tolerance{1e-5, 1.0}));
  }
}

TEST(ChannelSums, NormalisationTakenApart) {
  const ReferenceKernels reference;
  for (const Extent& e : kExtents)
    for (const Activation act : {Activation::none(), Activation::relu6(), Activation::leaky(0.1f)}) {
      SCOPED_TRACE(str(e.rows, 'x', e.channels, " slope ", act.slope));
      const Norm n(e, act, false);
      const kernels::InputNorm norm{n.scale.f32(), n.shift.f32(), n.mean.f32(), act};
      const Shape shape = n.x.shape();
      const Tensor y(shape), dx(shape), sums({2, e.channels});
      kernels::normalize_forward<float>(Device::kCpu, e.rows, e.channels, n.x.f32(), norm, nullptr, y.f32());
      kernels::normalize_backward<float>(Device::kCpu, e.rows, e.channels, n.x.f32(), norm, y.f32(),
                                         n.dy.f32(), dx.f32(), sums.f32(), nullptr);
      for (const float* output : {y.f32(), static_cast<float*>(nullptr)}) {
        EmulatedMachine machine;
        const Tensor got_y(shape), got_dx = n.dy.clone(), got({2, e.channels});
        channels::for_each_element(machine, e.rows, e.channels,
                                   channels::NormalizeForward<float>{n.x.f32(), norm, nullptr, got_y.f32()});
        EXPECT_TRUE(expect_close(got_y, y, {4e-6, 1.0}));  // a fused multiply-add is rounded once
        const channels::NormGradient<float> gradient{n.x.f32(), output, got_dx.f32(), norm};
        channels::sum(machine, e.rows, e.channels, channels::NormSums<float>{gradient}, got.f32(),
                      got.f32() + e.channels);
        channels::for_each_element(machine, e.rows, e.channels,
                                   channels::NormalizeBackward<float>{gradient, {}, got_dx.f32(), nullptr});
        EXPECT_TRUE(expect_close(got, sums, kSums));
        EXPECT_TRUE(expect_close(got_dx, dx, kElementwise));
        const kernels::MomentsTerm term{n.shift.f32(), n.scale.f32()};
        const Tensor want_whole(shape), whole = n.dy.clone();
        kernels::normalize_backward_x<float>(Device::kCpu, e.rows, e.channels, n.x.f32(), norm, y.f32(),
                                             n.dy.f32(), term, want_whole.f32(), nullptr);
        channels::for_each_element(machine, e.rows, e.channels,
                                   channels::NormalizeBackward<float>{
                                       {n.x.f32(), output, whole.f32(), norm}, term, whole.f32(), nullptr});
        EXPECT_TRUE(expect_close(whole, want_whole, {2e-6, 10.0}));  // against the size of the terms
      }
    }
}

}  // namespace
}  // namespace espalier::test
