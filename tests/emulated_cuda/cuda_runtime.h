#pragma once
// CUDA's runtime as kernels/ uses it, played on the host: with -DESPALIER_CUDA=EMULATED every .cu file is C++
// that includes this instead of CUDA's header, and device `cuda` is a card that README.md of this folder
// describes. The names are CUDA's, and so is what they do, refusals included; what is not here the project
// does not use.

#include <cstddef>
#include <cstdint>
#include <memory>

#define __global__
#define __grid_constant__
#define __launch_bounds__(...)

// --- types ---

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorUnsupportedPtxVersion = 222,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaDeviceAttr {
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMemoryPoolsSupported = 115
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

struct cudaDeviceProp {
  char name[256];
  int major, minor;
};
struct cudaFuncAttributes {};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace espalier::emulated_cuda {
struct Stream;
struct Event;
struct Graph;
struct ExecutableGraph;
struct Pool;
}  // namespace espalier::emulated_cuda
using cudaStream_t = espalier::emulated_cuda::Stream*;
using cudaEvent_t = espalier::emulated_cuda::Event*;
using cudaGraph_t = espalier::emulated_cuda::Graph*;
using cudaGraphExec_t = espalier::emulated_cuda::ExecutableGraph*;
using cudaMemPool_t = espalier::emulated_cuda::Pool*;

// --- the card and errors ---

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* about, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);

// --- memory ---

cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream);
cudaError_t cudaMallocHost(void** memory, size_t bytes);
cudaError_t cudaFreeHost(void* memory);
template <class T>
cudaError_t cudaMallocHost(T** memory, size_t bytes) {
  return cudaMallocHost(reinterpret_cast<void**>(memory), bytes);
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t bytes);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t stream);

// --- streams, events, graphs ---

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode);
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

// --- kernels ---

namespace espalier::emulated_cuda {

/// A launch's parameters as they are copied to the card, and what runs with them. Without captures, which
/// would be accesses to the host's memory.
template <class Argument>
struct Call {
  std::shared_ptr<const void> parameters;
  size_t bytes;
  void (*run)(const void* parameters, Argument);
};
struct NoArgument {};

/// A launch as the host asks for it. `function` tells kernels apart.
struct Launch {
  const void* function;
  const char* signature;  ///< for messages
  dim3 grid;
  int threads, shared_bytes;
};

/// Queues it; a configuration that the card refuses becomes the last error. The call runs once per thread.
void launch(const Launch& launch, cudaStream_t stream, const Call<NoArgument>& call);
/// The same for a loop over items.
void launch_items(const char* signature, int64_t count, cudaStream_t stream, const Call<int64_t>& call);
/// How much dynamic shared memory the function may ask for.
cudaError_t allow_shared_memory(const void* function, int bytes);

/// What <<<grid, threads, shared bytes, stream>>> says.
template <class Kernel>
void launch(void (*function)(Kernel), const char* signature, dim3 grid, int threads, int shared_bytes,
            cudaStream_t stream, const Kernel& kernel) {
  launch({reinterpret_cast<const void*>(function), signature, grid, threads, shared_bytes}, stream,
         {std::make_shared<const Kernel>(kernel), sizeof(Kernel),
          [](const void* parameters, NoArgument) { (*static_cast<const Kernel*>(parameters))(); }});
}
template <class Body>
void launch_items(const char* signature, int64_t count, cudaStream_t stream, const Body& body) {
  launch_items(signature, count, stream,
               {std::make_shared<const Body>(body), sizeof(Body),
                [](const void* parameters, int64_t item) { (*static_cast<const Body*>(parameters))(item); }});
}

}  // namespace espalier::emulated_cuda

template <class Function>
cudaError_t cudaFuncSetAttribute(Function* function, cudaFuncAttribute, int bytes) {
  return espalier::emulated_cuda::allow_shared_memory(reinterpret_cast<const void*>(function), bytes);
}
template <class Function>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, Function*) {
  return cudaSuccess;
}
