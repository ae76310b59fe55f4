#pragma once
// How one body runs on both devices. Only .cu files include this; without nvcc they are compiled as C++.
//
// A body is a struct with a const operator()(int64_t item), or with tile<T>(row, c, n) for for_each_tile().
// It is copied to the device, so it holds raw pointers and numbers only.

#include <cstdint>

#include "base/error.h"
#include "kernels/device.h"
#include "kernels/host_device.h"

namespace espalier::kernels {

#ifdef __CUDACC__
template <class Body>
__global__ void run_body(int64_t count, const Body body) {
  const int64_t step = int64_t{blockDim.x} * gridDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) body(i);
}
#endif

/// Below this many items a loop stays on the calling thread: waking the others costs more.
constexpr int64_t kSerialBelow = 4096;

/// body(i) for i in 0 .. count-1, in any order. `cost` is roughly how many element operations one item takes;
/// it decides whether the CPU's threads are worth waking.
template <class Body>
void for_each(Device device, int64_t count, const Body& body, int64_t cost = 1) {
  if (count <= 0) return;
#ifdef __CUDACC__
  if (device == Device::kCuda) {
    constexpr int kBlock = 256;
    const int64_t blocks = (count + kBlock - 1) / kBlock;
    run_body<<<static_cast<int>(blocks < 65535 * 16 ? blocks : 65535 * 16), kBlock, 0,
               static_cast<cudaStream_t>(current_stream())>>>(count, body);
    return check_launch(__PRETTY_FUNCTION__);
  }
#elif defined(ESPALIER_EMULATED_CUDA)
  if (device == Device::kCuda) {
    emulated_cuda::launch_items(__PRETTY_FUNCTION__, count, static_cast<cudaStream_t>(current_stream()),
                                body);
    return check_launch(__PRETTY_FUNCTION__);
  }
#else
  ESPALIER_CHECK(device == Device::kCpu, "device cuda: ", cuda_obstacle());
#endif
  if (count * cost < kSerialBelow) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) body(i);
}

/// Turns one item of for_each() into one tile: n <= T neighbouring channels of one row.
template <int T, class Body>
struct Tiles {
  int channels;
  Body body;
  ESPALIER_HD void operator()(int64_t i) const {
    const int per_row = (channels + T - 1) / T, c = static_cast<int>(i % per_row) * T;
    body.template tile<T>(i / per_row, c, channels - c < T ? channels - c : T);
  }
};

/// Runs body.tile<T>(row, c, n) over rows x channels. T is what suits the device: 32 keeps a CPU's vector
/// units busy, 4 is one 16-byte load of a CUDA thread. Bodies must not depend on T.
template <class Body>
void for_each_tile(Device device, int64_t rows, int channels, const Body& body, int64_t cost = 1) {
  constexpr int kCpu = 32, kCuda = 4;
  if (device == Device::kCpu)
    for_each(device, rows * ((channels + kCpu - 1) / kCpu), Tiles<kCpu, Body>{channels, body}, cost * kCpu);
  else
    for_each(device, rows * ((channels + kCuda - 1) / kCuda), Tiles<kCuda, Body>{channels, body},
             cost * kCuda);
}

}  // namespace espalier::kernels
