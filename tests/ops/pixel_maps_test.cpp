// The GPU's pooling, resizing, concatenation, softmax and parameter loops, run in the emulator, against the
// shared bodies.

#include "kernels/pixel_maps.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/channel_sums.h"
#include "kernels/concat.h"
#include "kernels/global_avg_pool.h"
#include "kernels/max_pool.h"
#include "kernels/slice_loops.h"
#include "kernels/softmax_rows.h"
#include "ops/convolution_cases.h"
#include "support/emulated_machine.h"
#include "support/expect_close.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

namespace pixels = kernels::pixels;
using kernels::ConvShape;
using kernels::Sampling;

TEST(PixelMaps, MaxPool) {
  const ReferenceKernels reference;
  for (const ConvShape& s :
       {ConvShape{2, 6, 8, 12, 12, 2, 2, 2, {}}, ConvShape{1, 7, 5, 4, 4, 2, 2, 2, {}},
        ConvShape{2, 7, 6, 8, 8, 3, 3, 2, {1, 1, 1, 1}}, ConvShape{1, 5, 6, 4, 4, 3, 2, 1, {}}}) {
    SCOPED_TRACE(describe(s));
    const Tensor x = random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1),
                 dy = random_tensor({s.N, s.P(), s.Q(), s.C}, Device::kCpu, 2);
    for (int64_t i = 0; i < x.elements(); ++i) x.f32()[i] = std::round(x.f32()[i] * 2);  // ties
    const Tensor y(dy.shape()), want_y(dy.shape()), dx(x.shape()), want_dx(x.shape());
    kernels::max_pool_forward(Device::kCpu, s, x.f32(), want_y.f32());
    kernels::max_pool_backward(Device::kCpu, s, x.f32(), dy.f32(), want_dx.f32());
    EmulatedMachine machine;
    pixels::for_each_unit(machine, int64_t{s.N} * s.P() * s.Q(), s.C / 4,
                          pixels::MaxPoolForward{s, x.f32(), y.f32()});
    pixels::for_each_unit(machine, int64_t{s.N} * s.H * s.W, s.C / 4,
                          pixels::MaxPoolBackward{s, x.f32(), dy.f32(), dx.f32()});
    EXPECT_EQ(y.to_vector(), want_y.to_vector());
    EXPECT_EQ(dx.to_vector(), want_dx.to_vector());
  }
}

TEST(PixelMaps, NothingIsDoneOfNothing) {
  EmulatedMachine machine;
  for (const ConvShape& s : {ConvShape{0, 4, 4, 8, 8, 2, 2, 2, {}}, ConvShape{2, 4, 4, 0, 0, 2, 2, 2, {}}})
    pixels::for_each_unit(machine, int64_t{s.N} * s.P() * s.Q(), s.C / 4,
                          pixels::MaxPoolForward<float>{s, nullptr, nullptr});
  EXPECT_EQ(machine.launches, 0);
}

TEST(PixelMaps, Resize) {
  const ReferenceKernels reference;
  int few = 0, many = 0;
  for (const Sampling sampling : {Sampling::kNearest, Sampling::kHalfPixel, Sampling::kAlignCorners})
    for (const kernels::ResizeShape& s : {kernels::ResizeShape{2, 5, 6, 8, 10, 12, sampling},
                                          kernels::ResizeShape{1, 7, 5, 12, 3, 9, sampling},
                                          kernels::ResizeShape{2, 16, 3, 16, 32, 7, sampling},
                                          kernels::ResizeShape{1, 1, 2, 8, 2, 5, sampling},
                                          kernels::ResizeShape{1, 3, 4, 8, 11, 29, sampling}}) {
      SCOPED_TRACE(str(static_cast<int>(sampling), ' ', s.H, 'x', s.W, " to ", s.P, 'x', s.Q));
      const Tensor x = random_tensor({s.N, s.H, s.W, s.C}, Device::kCpu, 1),
                   dy = random_tensor({s.N, s.P, s.Q, s.C}, Device::kCpu, 2);
      const Tensor y(dy.shape()), want_y(dy.shape()), dx(x.shape()), want_dx(x.shape());
      kernels::resize_forward(Device::kCpu, s, x.f32(), want_y.f32());
      kernels::resize_backward(Device::kCpu, s, dy.f32(), want_dx.f32());
      const auto run = [](const Tensor& out, const Tensor& want, int channels, const auto& map) {
        EmulatedMachine machine;
        out.set(std::vector<float>(static_cast<size_t>(out.elements()), -1));
        pixels::for_each_unit(machine, out.elements() / out.channels(), out.channels() / channels, map);
        EXPECT_EQ(out.to_vector(), want.to_vector());
      };
      run(y, want_y, 4, pixels::ResizeForward{s, x.f32(), y.f32()});
      run(dx, want_dx, 4, pixels::ResizeBackward{s, dy.f32(), dx.f32()});
      if (s.C % 8 == 0) run(y, want_y, 8, pixels::ResizeForward<float, 8>{s, x.f32(), y.f32()});
      if (!pixels::ResizeBackwardOfFew<float>::takes(s)) {
        ++many;
        continue;
      }
      ++few;
      run(dx, want_dx, 4, pixels::ResizeBackwardOfFew{s, dy.f32(), dx.f32()});
      if (s.C % 8 == 0) run(dx, want_dx, 8, pixels::ResizeBackwardOfFew<float, 8>{s, dy.f32(), dx.f32()});
    }
  EXPECT_GE(few, 9) << "what doubles has few readers";
  EXPECT_GE(many, 2);
}

TEST(PixelMaps, CopyOfChannelsInEveryUnit) {
  struct Case {
    int width, from_channels, from_first, to_channels, to_first, bytes;
  };
  for (const Case& c : {Case{8, 12, 4, 20, 8, 4}, Case{3, 5, 1, 7, 2, 4}, Case{5, 7, 1, 9, 3, 1},
                        Case{16, 32, 16, 48, 0, 1}}) {
    SCOPED_TRACE(str(c.width, " of ", c.from_channels, " to ", c.to_channels));
    constexpr int kRows = 11;
    const Tensor from = random_tensor({kRows, c.from_channels}, Device::kCpu, 1);
    const Tensor want = random_tensor({kRows, c.to_channels}, Device::kCpu, 2), got = want.clone();
    kernels::copy_channels(Device::kCpu, kRows, c.width, c.bytes, from.data(), c.from_channels, c.from_first,
                           want.data(), c.to_channels, c.to_first);
    EmulatedMachine machine;
    EXPECT_TRUE(pixels::copy_rows(
        machine, kRows, c.width * c.bytes, static_cast<const char*>(from.data()) + c.from_first * c.bytes,
        c.from_channels * c.bytes, static_cast<char*>(got.data()) + c.to_first * c.bytes,
        c.to_channels * c.bytes));
    EXPECT_EQ(got.to_vector(), want.to_vector());
  }
}

TEST(PixelMaps, GlobalAveragePool) {
  for (const auto& [n, area, c] : {std::array{3, 49, 36}, std::array{2, 1, 4}, std::array{1, 700, 8}}) {
    const Tensor x = random_tensor({n, area, c}, Device::kCpu, 1), want({n, c}), got({n, c});
    const ReferenceKernels reference;
    kernels::global_avg_pool_forward(Device::kCpu, n, area, c, x.f32(), want.f32());
    const kernels::channels::RowParts images(int64_t{n} * area, c, area);
    EmulatedMachine machine;
    machine.launch(
        kernels::channels::Sums<kernels::channels::Means<float>>{
            images, {{x.f32()}, static_cast<float>(area)}, got.f32()},
        images.blocks(), images.count());
    EXPECT_TRUE(expect_close(got, want, {1e-5, 1e-1}));  // sums in another order
  }
}

TEST(SoftmaxRows, EqualTheSharedBody) {
  const ReferenceKernels reference;
  for (const int K : {32, 37, 1000})
    for (const bool weighted : {false, true}) {
      SCOPED_TRACE(str(K, " classes, weights ", weighted));
      const int rows = 7;
      const Tensor logits = random_tensor({rows, K}, Device::kCpu, 1), weights = Tensor::full({K}, 0.5f);
      std::vector<int32_t> labels;
      for (int i = 0; i < rows; ++i) labels.push_back(i == 3 ? 255 * 255 : (i * 5) % K);
      const kernels::CrossEntropyProblem p{
          rows, K, logits.f32(), labels.data(), 255 * 255, 0.1f, weighted ? weights.f32() : nullptr};
      const Tensor losses({rows}), want_losses({rows}), dx(logits.shape()), want_dx(logits.shape());
      kernels::softmax_cross_entropy_forward(Device::kCpu, p, want_losses.f32());
      const float gradient = 0.5f, share = 0.6f;
      const kernels::LossFactor factor{&gradient, &share};
      kernels::softmax_cross_entropy_backward(Device::kCpu, p, factor, want_dx.f32());
      EmulatedMachine machine;
      const kernels::rows::SoftmaxRows kernel{p, factor, losses.f32(), dx.f32()};
      machine.launch(kernel, kernel.blocks(), 1);
      EXPECT_TRUE(expect_close(losses, want_losses, {1e-5, 1.0}));  // sums in another order
      EXPECT_TRUE(expect_close(dx, want_dx, {1e-5, 1e-3}));
    }
}

/// w = 2 w, and remembers the block that did it.
struct Double {
  ESPALIER_SIMT void run(const kernels::ParameterSlice& p, int64_t begin, int64_t end, int64_t item) const {
    for (int64_t i = begin; i < end; ++i) p.w[i] *= 2, p.m[i] = static_cast<float>(item);
  }
};

TEST(SliceLoops, VisitEveryElementOnce) {
  const int64_t lengths[] = {1, 2048, 2049, 7, 5000};
  std::vector<Tensor> w, m;
  std::vector<kernels::ParameterSlice> slices;
  std::vector<int64_t> first = {0};
  double squares = 0;
  for (const int64_t n : lengths) {
    w.push_back(random_tensor({static_cast<int>(n)}, Device::kCpu, static_cast<uint64_t>(n)));
    m.push_back(Tensor::zeros({static_cast<int>(n)}));
    slices.push_back({.w = w.back().f32(), .g = w.back().f32(), .m = m.back().f32(), .elements = n});
    first.push_back(first.back() + (n + kernels::slices::kBlock - 1) / kernels::slices::kBlock);
    for (const float v : w.back().to_vector()) squares += double{v} * v;
  }
  const int count = static_cast<int>(slices.size());
  EmulatedMachine machine;
  std::vector<double> parts(static_cast<size_t>(first.back()));
  machine.launch(kernels::slices::SquareSum{slices.data(), first.data(), count, parts.data()}, first.back(),
                 1);
  double sum = 0;
  for (const double part : parts) sum += part;
  EXPECT_TRUE(expect_close(std::vector{static_cast<float>(sum / squares)}, std::vector{1.0}, kElementwise));
  std::vector<std::vector<float>> before;
  for (const Tensor& t : w) before.push_back(t.to_vector());
  machine.launch(kernels::slices::ForEachElement<Double>{slices.data(), first.data(), count, {}},
                 first.back(), 1);
  for (size_t i = 0; i < w.size(); ++i)
    for (size_t k = 0; k < before[i].size(); ++k) {
      ASSERT_EQ(w[i].f32()[k], 2 * before[i][k]);
      ASSERT_EQ(m[i].f32()[k],
                static_cast<float>(first[i] + static_cast<int64_t>(k) / kernels::slices::kBlock));
    }
}

}  // namespace
}  // namespace espalier::test
