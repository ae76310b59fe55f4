#include "kernels/device_cuda.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "kernels/device.h"
#include "kernels/gpu_obstacle.h"
#include "kernels/kernel_name.h"

namespace espalier::kernels {

namespace {

__global__ void probe() {}

/// The latest launches since the GPU was last waited for: a fault shows in a later call than made it.
class Launches {
 public:
  void add(const char* signature) { latest_[count_++ % kKept] = signature; }
  void forget() { count_ = 0; }
  /// Latest first.
  std::string names() const {
    std::string text;
    const unsigned count = count_;
    for (unsigned back = 1; back <= count && back <= kKept; ++back)
      text += (text.empty() ? "" : ", ") + kernel_name(latest_[(count - back) % kKept].load());
    return text;
  }

 private:
  static constexpr unsigned kKept = 8;
  std::atomic<const char*> latest_[kKept] = {};
  std::atomic<unsigned> count_{0};
};
Launches launches;

bool sync_after_launch() {
  static const bool on = [] {
    const char* value = std::getenv("ESPALIER_SYNC");
    return value && std::strcmp(value, "1") == 0;
  }();
  return on;
}

struct Gpu {
  int number = -1;  ///< -1: none in use
  std::string name;
  bool pools = false;  ///< it allocates in the order of a stream
  cudaStream_t stream = nullptr;
};

std::mutex mutex;
Gpu gpu;                         // written once, under the mutex
std::atomic<bool> taken{false};  // it is written

/// Asks CUDA; makes the GPU current on success.
GpuFacts ask(int number) {
  GpuFacts f{.built = true, .number = number, .architectures = ESPALIER_CUDA_ARCHITECTURES};
  const auto failed = [&](cudaError_t status) {
    if (status == cudaSuccess) return false;
    f.error = cudaGetErrorString(status);
    cudaGetLastError();
    return true;
  };
  cudaRuntimeGetVersion(&f.runtime);
  if (cudaDriverGetVersion(&f.driver) != cudaSuccess) f.driver = 0;
  const cudaError_t status = cudaGetDeviceCount(&f.count);
  if (status != cudaSuccess) f.count = 0;
  if (status != cudaErrorNoDevice && failed(status)) return f;
  cudaGetLastError();
  if (number >= f.count) return f;
  cudaDeviceProp about{};
  if (failed(cudaGetDeviceProperties(&about, number))) return f;
  f.name = about.name;
  f.major = about.major;
  f.minor = about.minor;
  if (failed(cudaSetDevice(number))) return f;
  cudaFuncAttributes attributes{};
  const cudaError_t image = cudaFuncGetAttributes(&attributes, probe);
  f.runs_our_code = image == cudaSuccess;
  cudaGetLastError();
  if (image != cudaErrorNoKernelImageForDevice && image != cudaErrorUnsupportedPtxVersion) failed(image);
  return f;
}

/// The obstacle to GPU `number`; takes it when there is none. The mutex is held.
std::string take(int number) {
  if (gpu.number == number) return "";
  if (gpu.number >= 0)
    return str("GPU ", gpu.number, " (", gpu.name, ") is in use already, and a process has one");
  const GpuFacts facts = ask(number);
  std::string text = obstacle(facts);
  if (!text.empty()) return text;
  int pools = 0;
  ESPALIER_CUDA_CHECK(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, number));
  cudaStream_t made = nullptr;
  ESPALIER_CUDA_CHECK(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
  gpu = {number, facts.name, pools != 0, made};
  taken = true;
  return "";
}

/// CUDA's GPU is a thread's own, the first where the thread named none. Where this fails, what comes next
/// fails too, and says so.
void make_current() {
  thread_local bool current = false;
  if (!current) current = cudaSetDevice(gpu.number) == cudaSuccess;
}

const Gpu& in_use() {
  if (!taken.load(std::memory_order_acquire)) {
    const std::lock_guard lock(mutex);
    const std::string text = gpu.number < 0 ? take(0) : "";
    ESPALIER_CHECK(text.empty(), "device cuda: ", text);
  }
  make_current();
  return gpu;
}

}  // namespace

std::string cuda_obstacle(int number) {
  const std::lock_guard lock(mutex);
  return take(number);
}

bool cuda_available() {
  const std::lock_guard lock(mutex);
  return gpu.number >= 0 || take(0).empty();
}

void use_cuda(int number) {
  const std::string text = cuda_obstacle(number);
  ESPALIER_CHECK(text.empty(), "device cuda:", number, ": ", text);
}

std::string cuda_name() {
  const std::lock_guard lock(mutex);
  return gpu.name;
}

void* current_stream() { return in_use().stream; }

void check_launch(const char* signature) {
  cudaError_t status = cudaGetLastError();
  const char* call = "launch of ";
  if (status == cudaSuccess && sync_after_launch()) {
    const auto s = static_cast<cudaStream_t>(current_stream());
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(s, &capture) == cudaSuccess && capture == cudaStreamCaptureStatusNone)
      status = cudaStreamSynchronize(s);
    call = "";
  }
  if (status != cudaSuccess) cuda::check(status, str(call, "kernel ", kernel_name(signature)).c_str());
  if (!cuda::recording()) launches.add(signature);
}

namespace cuda {

namespace {
std::atomic<uint64_t> released{0};
std::atomic<bool> is_recording{false};
}  // namespace

int current_gpu() { return in_use().number; }

uint64_t releases() { return released; }
bool waits_after_launches() { return sync_after_launch(); }
void set_recording(bool on) { is_recording = on; }
bool recording() { return is_recording; }
void refuse_recording() {
  if (is_recording) throw NotRecordable();
}

namespace {

/// `what` got none.
[[noreturn]] void out_of_memory(const std::string& what) {
  cudaGetLastError();
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  cudaGetLastError();
  const std::string place = running_place();
  throw OutOfMemory(str(place.empty() ? "" : "in " + place + ": ", "out of memory: ", what, " on GPU ",
                        gpu.number, " (", gpu.name, "), ", free, " of ", total,
                        " are free; lower the batch or the image size"));
}

}  // namespace

void check(int status, const char* call) {
  if (status == cudaSuccess) return;
  const auto error = static_cast<cudaError_t>(status);
  // Launches, recorded ones above all, take some too.
  if (error == cudaErrorMemoryAllocation) out_of_memory(str(call, " found none"));
  const std::string place = running_place(), before = launches.names();
  throw std::runtime_error(
      str(place.empty() ? "" : "in " + place + ": ", "CUDA: ", call, ": ", cudaGetErrorString(error), " (",
          cudaGetErrorName(error), ")", before.empty() ? "" : "; the launches before it, the latest first: ",
          before, sync_after_launch() ? "" : "; ESPALIER_SYNC=1 finds the launch where it began"));
}

namespace {

/// Throws unless `status` is success.
void check_allocation(cudaError_t status, size_t bytes, const char* call) {
  if (status == cudaErrorMemoryAllocation) out_of_memory(str(bytes, " bytes were asked for"));
  check(status, call);
}

/// Lets this thread call what a recording forbids: it is no part of what is recorded.
class BesideRecording {
 public:
  BesideRecording() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~BesideRecording() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  BesideRecording(const BesideRecording&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

/// What ask() gives; where there is no memory, once more when all that was released has gone back to the
/// device.
template <class Ask>
cudaError_t ask_twice(const Gpu& g, const Ask& ask) {
  const cudaError_t status = ask();
  if (status != cudaErrorMemoryAllocation || is_recording) return status;
  cudaGetLastError();
  ESPALIER_CUDA_CHECK(cudaStreamSynchronize(g.stream));
  cudaMemPool_t pool = nullptr;
  if (g.pools && cudaDeviceGetDefaultMemPool(&pool, g.number) == cudaSuccess) cudaMemPoolTrimTo(pool, 0);
  return ask();
}

}  // namespace

void* allocate(size_t bytes) {
  refuse_recording();
  const Gpu& g = in_use();
  void* memory = nullptr;
  const cudaError_t status = ask_twice(
      g, [&] { return g.pools ? cudaMallocAsync(&memory, bytes, g.stream) : cudaMalloc(&memory, bytes); });
  check_allocation(status, bytes, g.pools ? "cudaMallocAsync" : "cudaMalloc");
  return memory;
}

// Not checked: after a fault every call fails, and destructors must not throw.
void release(void* memory) {
  const Gpu& g = in_use();
  ++released;
  if (g.pools)
    cudaFreeAsync(memory, g.stream);
  else
    cudaFree(memory);
}

void* allocate_lasting(size_t bytes) {
  const Gpu& g = in_use();
  const BesideRecording beside;
  void* memory = nullptr;
  check_allocation(ask_twice(g, [&] { return cudaMalloc(&memory, bytes); }), bytes, "cudaMalloc");
  return memory;
}

void release_lasting(void* memory) {
  ++released;
  cudaFree(memory);
}

size_t free_bytes() {
  size_t free = 0, total = 0;
  in_use();
  ESPALIER_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return free;
}

void copy(void* to, const void* from, size_t bytes) {
  const auto s = static_cast<cudaStream_t>(current_stream());
  ESPALIER_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, s));
}

void fill_bytes(void* memory, int byte, size_t bytes) {
  ESPALIER_CUDA_CHECK(cudaMemsetAsync(memory, byte, bytes, static_cast<cudaStream_t>(current_stream())));
}

void synchronize() {
  ESPALIER_CUDA_CHECK(cudaStreamSynchronize(static_cast<cudaStream_t>(current_stream())));
  launches.forget();
}

}  // namespace cuda
}  // namespace espalier::kernels
