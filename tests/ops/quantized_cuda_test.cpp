// On a GPU: what an INT8 layer makes of its codes there, bit for bit what the shared body makes of them here.

#include <gtest/gtest.h>

#include "kernels/quantized_elementwise.h"
#include "kernels/quantized_resample.h"
#include "ops/convolution_cases.h"
#include "ops/quantized_problem.h"
#include "support/device_test.h"

namespace espalier::test {
namespace {

/// Bytes on a device while it lives.
class Bytes {
 public:
  Bytes(Device device, size_t count) : tensor_({static_cast<int>(count)}, device, DType::kU8) {}
  template <class T>
  Bytes(Device device, const T* host, size_t count) : Bytes(device, count * sizeof(T)) {
    kernels::copy(device, tensor_.data(), Device::kCpu, host, count * sizeof(T));
  }
  void* data() const { return tensor_.data(); }
  template <class T>
  const T* as() const {
    return static_cast<const T*>(tensor_.data());
  }
  std::vector<uint8_t> to_host() const {
    std::vector<uint8_t> host(static_cast<size_t>(tensor_.elements()));
    kernels::copy(Device::kCpu, host.data(), tensor_.device(), tensor_.data(), host.size());
    return host;
  }

 private:
  Tensor tensor_;
};

std::vector<uint8_t> on(Device device, const QuantizedProblem& p) {
  const auto filters = static_cast<size_t>(p.s.K);
  const Bytes x(device, p.x.data(), p.x.size()), w(device, p.w.data(), p.w.size()),
      residual(device, p.residual.data(), p.residual.size()), bias(device, p.bias.data(), filters),
      multiplier(device, p.multiplier.f32(), filters), y(device, p.output().size());
  kernels::Requantize r = p.r;
  r.bias = bias.as<int32_t>();
  r.multiplier = multiplier.as<float>();
  if (r.residual) r.residual = residual.data();
  (p.depthwise ? kernels::quantized_depthwise : kernels::quantized_conv2d)(
      device, p.s, p.x_code, x.data(), w.as<int8_t>(), r, p.y_code, y.data());
  return y.to_host();
}

struct QuantizedDeviceTest : DeviceTest {
  void check(const ConvShape& s, bool depthwise) const {
    for (const Types& t : kTypes) {
      SCOPED_TRACE(str(describe(s), " types ", static_cast<int>(t.x), ' ', static_cast<int>(t.y)));
      const QuantizedProblem p(s, depthwise, t.x, t.y, t.residual);
      const std::vector<uint8_t> first = on(GetParam(), p);
      EXPECT_EQ(first, p.want());
      EXPECT_EQ(on(GetParam(), p), first);
    }
  }
};
ESPALIER_TEST_ON_EVERY_DEVICE(QuantizedDeviceTest);

TEST_P(QuantizedDeviceTest, DenseConvolutions) {
  for (const ConvShape& s : kConvCases) check(s, false);
}

TEST_P(QuantizedDeviceTest, LayersOfNetworks) {
  for (const ConvShape& s :
       {ConvShape{1, 224, 224, 3, 32, 3, 3, 2, {0, 0, 1, 1}},  // MobileNetV2's first
        ConvShape{1, 256, 256, 3, 64, 3, 3, 1, {1, 1, 1, 1}},  // UNet's, taller blocks
        ConvShape{1, 112, 112, 16, 96, 1, 1, 1, {}}, ConvShape{1, 56, 56, 24, 144, 1, 1, 1, {}},
        ConvShape{1, 28, 28, 32, 192, 1, 1, 1, {}}, ConvShape{1, 14, 14, 576, 96, 1, 1, 1, {}},
        ConvShape{1, 7, 7, 960, 160, 1, 1, 1, {}}, ConvShape{1, 1, 1, 1280, 1001, 1, 1, 1, {}}})
    check(s, false);
}

TEST_P(QuantizedDeviceTest, DepthwiseLayersOfNetworks) {
  for (const ConvShape& s : {ConvShape{1, 112, 112, 32, 32, 3, 3, 1, {1, 1, 1, 1}},
                             ConvShape{1, 112, 112, 96, 96, 3, 3, 2, {0, 0, 1, 1}},
                             ConvShape{1, 7, 7, 960, 960, 3, 3, 1, {1, 1, 1, 1}},
                             ConvShape{8, 57, 55, 144, 144, 3, 3, 1, {1, 1, 1, 1}},
                             ConvShape{16, 57, 55, 144, 144, 3, 3, 2, {1, 1, 1, 1}}})
    check(s, true);
}

TEST_P(QuantizedDeviceTest, MeansPoolingAndResizing) {
  const Device device = GetParam();
  const auto expect_equal = [&](Code code, int64_t inputs, int64_t outputs, const auto& run) {
    const bool u8 = code == Code::kU8;
    const std::vector<uint8_t> x = codes(inputs, u8 ? 0 : -128, u8 ? 255 : 127, 1);
    std::vector<uint8_t> want(static_cast<size_t>(outputs));
    {
      const ReferenceKernels reference;
      run(Device::kCpu, x.data(), want.data());
    }
    const Bytes there(device, x.data(), x.size()), y(device, want.size());
    run(device, there.data(), y.data());
    EXPECT_EQ(y.to_host(), want);
  };
  for (const Code code : {Code::kU8, Code::kS8})
    for (const int C : {12, 32, 1280}) {
      SCOPED_TRACE(str("code ", static_cast<int>(code), " C ", C));
      expect_equal(code, int64_t{2} * 49 * C, int64_t{2} * C, [&](Device d, const void* x, void* y) {
        kernels::quantized_global_avg_pool(d, 2, 49, C, code, x, y);
      });
      const ConvShape pool{2, 7, 7, C, C, 3, 3, 2, {1, 1, 1, 1}};
      expect_equal(
          code, int64_t{2} * 49 * C, int64_t{2} * pool.P() * pool.Q() * C,
          [&](Device d, const void* x, void* y) { kernels::quantized_max_pool(d, pool, code, x, y); });
      for (const auto sampling :
           {kernels::Sampling::kNearest, kernels::Sampling::kHalfPixel, kernels::Sampling::kAlignCorners}) {
        const kernels::ResizeShape larger{2, 7, 7, C, 14, 13, sampling};
        expect_equal(
            code, int64_t{2} * 49 * C, int64_t{2} * 14 * 13 * C,
            [&](Device d, const void* x, void* y) { kernels::quantized_resize(d, larger, code, x, y); });
      }
    }
}

}  // namespace
}  // namespace espalier::test
