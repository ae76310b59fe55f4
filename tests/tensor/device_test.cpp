// Which device is taken, and what is said of one that cannot be.

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "kernels/device.h"
#include "kernels/device_cuda.h"
#include "kernels/gpu_obstacle.h"
#include "kernels/kernel_name.h"
#include "kernels/read_back.h"
#include "kernels/send_ahead.h"
#include "support/device_test.h"
#include "tensor/device_choice.h"
#include "tensor/tensor.h"

namespace espalier {
namespace {

using kernels::GpuFacts;
using kernels::obstacle;

TEST(DeviceChoice, KnowsFourForms) {
  EXPECT_TRUE(device_choice("auto")->automatic);
  EXPECT_EQ(device_choice("cpu")->device, Device::kCpu);
  EXPECT_EQ(device_choice("cuda")->number, 0);
  EXPECT_EQ(device_choice("cuda:3")->number, 3);
  EXPECT_EQ(device_choice("cuda:3")->device, Device::kCuda);
  for (const char* text : {"", "CPU", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999999999"})
    EXPECT_FALSE(device_choice(text)) << text;
}

TEST(DeviceChoice, ThrowsForAGpuThatIsNotThere) {
  EXPECT_THROW(take_device({.automatic = false, .device = Device::kCuda, .number = 4711}), Error);
}

/// A machine on which nothing is in the way.
GpuFacts good() {
  return {.built = true,
          .driver = 13010,
          .runtime = 13000,
          .count = 2,
          .number = 1,
          .name = "NVIDIA X",
          .major = 9,
          .minor = 0,
          .runs_our_code = true,
          .architectures = "80;90"};
}

TEST(Threads, AreOfOneThreadAndComeBack) {
  const int began_with = kernels::threads();
  {
    const kernels::Threads seven(7);
    EXPECT_EQ(kernels::threads(), 7);
    std::thread([&] {
      EXPECT_EQ(kernels::threads(), began_with) << "another thread has its own count";
      kernels::set_threads(3);
    }).join();
    EXPECT_EQ(kernels::threads(), 7);
    kernels::set_threads(0);
    EXPECT_EQ(kernels::threads(), began_with) << "OMP_NUM_THREADS or the machine's count";
    kernels::set_threads(5);
  }
  EXPECT_EQ(kernels::threads(), began_with);
}

TEST(GpuObstacle, SaysWhatIsInTheWayAndWhatToDo) {
  EXPECT_EQ(obstacle(good()), "");
  const auto with = [](auto change) {
    GpuFacts facts = good();
    change(facts);
    return obstacle(facts);
  };
  EXPECT_EQ(obstacle({}),
            "this program was built without CUDA; use device cpu, or build with -DESPALIER_CUDA=ON");
  EXPECT_EQ(with([](GpuFacts& f) { f.driver = 0, f.error = "no driver", f.count = 0; }),
            "there is no NVIDIA driver on this machine; install one, or use device cpu");
  EXPECT_EQ(with([](GpuFacts& f) { f.driver = 12040, f.error = "insufficient", f.count = 0; }),
            "the NVIDIA driver is too old: it knows CUDA 12.4, this program was built with CUDA 13.0; update "
            "the driver, or use device cpu");
  EXPECT_EQ(with([](GpuFacts& f) { f.count = 0; }),
            "no GPU answers; see what nvidia-smi and CUDA_VISIBLE_DEVICES say, or use device cpu");
  EXPECT_EQ(with([](GpuFacts& f) { f.number = 2; }),
            "there is no GPU 2: 2 answer, counted from 0 and after CUDA_VISIBLE_DEVICES; name another one");
  EXPECT_EQ(with([](GpuFacts& f) { f.error = "system not yet initialized", f.count = 0; }),
            "no GPU can be used (system not yet initialized); mend that, or use device cpu");
  EXPECT_EQ(with([](GpuFacts& f) { f.major = 10, f.minor = 3, f.runs_our_code = false; }),
            "GPU 1 (NVIDIA X) has architecture 103, this program was built for 80;90; build with "
            "-DESPALIER_CUDA_ARCHITECTURES=103, or use device cpu");
  EXPECT_EQ(with([](GpuFacts& f) { f.major = 7, f.minor = 5, f.runs_our_code = false; }),
            "GPU 1 (NVIDIA X) has architecture 75, the kernels need 80 or newer; use another GPU, or device "
            "cpu");
}

TEST(KernelName, IsFoundInWhatCompilersWrite) {
  using kernels::kernel_name;
  EXPECT_EQ(
      kernel_name("void espalier::kernels::for_each(Device, int64_t, const Body&, int64_t) [with Body = "
                  "espalier::kernels::{anonymous}::Relu; int64_t = long int]"),
      "Relu");
  EXPECT_EQ(kernel_name("void f(const Kernel&) [with Kernel = espalier::kernels::Tiles<4, "
                        "espalier::kernels::(anonymous namespace)::Add>]"),
            "Tiles<4, Add>");
  EXPECT_EQ(kernel_name("void plain()"), "void plain()");
}

class DeviceCopies : public test::DeviceTest {};

TEST_P(DeviceCopies, GoThereAndBackInEverySize) {
  // Around the size of a staging buffer, and more than all of them hold.
  for (const int count : {1, 3, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20}) {
    std::vector<float> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 8191);
    const Tensor there = Tensor::from(values, {count}, GetParam());
    const std::vector<float> kept = values;
    std::fill(values.begin(), values.end(), -1.0f);  // the source is free as soon as the copy returned
    EXPECT_EQ(there.clone().to_vector(), kept) << count;
    EXPECT_EQ(Tensor::zeros({count}, GetParam()).to_vector(), std::vector<float>(kept.size())) << count;
  }
}

TEST_P(DeviceCopies, AReadBackBringsWhatWasThereWhenItBegan) {
  kernels::ReadBack read_back(GetParam(), 3 * sizeof(float));
  const Tensor source(Shape{3}, GetParam());
  for (const float value : {2.0f, -7.0f}) {
    source.copy_from(Tensor::full({3}, value, GetParam()));
    read_back.start(source.data());
    if (GetParam() != Device::kCpu) source.copy_from(Tensor::zeros({3}, GetParam()));
    const auto* got = static_cast<const float*>(read_back.wait());
    EXPECT_EQ(std::vector<float>(got, got + 3), std::vector<float>(3, value));
  }
}

TEST_P(DeviceCopies, WhatIsSentAheadStaysUntilItWasTaken) {
  kernels::SendAhead ahead(GetParam());
  std::vector<Tensor> got;
  const std::vector<std::vector<float>> batches = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9, 10, 11}, {12, 13}};
  for (std::vector<float> batch : batches) {
    const auto count = static_cast<int>(batch.size());
    const void* there = ahead.send(batch.data(), batch.size() * sizeof(float));
    got.push_back(Tensor::over(const_cast<void*>(there), {Shape{count}, DType::kF32}, GetParam()).clone());
    ahead.taken();
    if (GetParam() != Device::kCpu) batch.assign(batch.size(), -1.0f);  // a GPU's source may change at once
  }
  for (size_t i = 0; i < batches.size(); ++i) EXPECT_EQ(got[i].to_vector(), batches[i]);
}

TEST_P(DeviceCopies, OutOfMemorySaysWhatWasAsked) {
  const Shape shape{1 << 20, 1 << 20, 64};  // 256 TB
  try {
    const Tensor t(shape, GetParam());
    FAIL() << "such a tensor exists";
  } catch (const OutOfMemory& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("out of memory: 281474976710656 bytes were asked for"), std::string::npos) << text;
    EXPECT_NE(text.find("lower the batch or the image size"), std::string::npos) << text;
  }
  EXPECT_EQ(Tensor::full({3}, 2, GetParam()).to_vector(), std::vector<float>(3, 2.0f));
}

ESPALIER_TEST_ON_EVERY_DEVICE(DeviceCopies);

#ifdef ESPALIER_HAS_CUDA
TEST(CudaErrors, WantOfMemoryIsNoDefectWhoeverFindsNone) {
  constexpr int kMemoryAllocation = 2, kInvalidValue = 1;  // of cudaError_t
  try {
    kernels::cuda::check(kMemoryAllocation, "launch of kernel x");
    FAIL() << "that is an error";
  } catch (const OutOfMemory& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("out of memory: launch of kernel x found none"), std::string::npos) << text;
    EXPECT_NE(text.find("lower the batch or the image size"), std::string::npos) << text;
  }
  EXPECT_THROW(kernels::cuda::check(kInvalidValue, "launch of kernel x"), std::runtime_error);
  EXPECT_NO_THROW(kernels::cuda::check(0, "launch of kernel x"));
}
#endif

}  // namespace
}  // namespace espalier
