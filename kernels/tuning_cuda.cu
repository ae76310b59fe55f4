#include "kernels/tuning_cuda.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "kernels/conv2d_library.h"
#include "kernels/device.h"
#include "kernels/device_cuda.h"
#include "kernels/kernel_choices.h"
#include "kernels/launch_graph.h"
#include "kernels/precision.h"

namespace espalier::kernels::cuda {

namespace {

const char* forced = nullptr;
bool forced_took = false;

cudaStream_t stream() { return static_cast<cudaStream_t>(current_stream()); }

class Stopwatch {
 public:
  Stopwatch() {
    cudaEventCreate(&begin_);
    cudaEventCreate(&end_);
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  /// Milliseconds that the GPU takes for it; negative where they cannot be measured.
  template <class Work>
  float time(const Work& work) const {
    cudaEventRecord(begin_, stream());
    work();
    cudaEventRecord(end_, stream());
    float milliseconds = 0;
    const bool measured = cudaEventSynchronize(end_) == cudaSuccess &&
                          cudaEventElapsedTime(&milliseconds, begin_, end_) == cudaSuccess;
    return measured ? milliseconds : -1;
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

/// One run's time, of some that are recorded and started as one where that is how steps and sessions run:
/// what a launch costs the host does not count. About a millisecond of runs is enough.
float time_candidate(const Candidate& candidate) {
  constexpr int kMostRuns = 10, kRepeats = 2;
  constexpr float kEnough = 1;
  try {
    if (!candidate.run()) return -1;  // may allocate
  } catch (const OutOfMemory&) {
    return -1;  // another one may do with less
  }
  const Stopwatch watch;
  bool took = true;
  const float one = watch.time([&] { took = candidate.run(); });
  if (!took || one < 0) return -1;
  const int runs = std::clamp(static_cast<int>(kEnough / std::max(one, 1e-3f)), 1, kMostRuns);
  LaunchGraph recorded;
  const auto all = [&] {
    for (int i = 0; i < runs; ++i) took = candidate.run() && took;
  };
  recorded.run(all);
  recorded.run(all);  // recorded here
  float least = -1;
  for (int i = 0; i < kRepeats && took; ++i) {
    const float time = watch.time([&] { recorded.run(all); });
    if (time < 0) return -1;
    if (least < 0 || time < least) least = time;
  }
  return took ? least / static_cast<float>(runs) : -1;
}

bool switched_off() {
  static const bool off = [] {
    const char* value = std::getenv("ESPALIER_AUTOTUNE");
    if (!value || !*value) return false;
    ESPALIER_CHECK(!std::strcmp(value, "off"), "ESPALIER_AUTOTUNE is '", value,
                   "'; 'off' takes the usual kernels without timing, unset it to time them");
    return true;
  }();
  return off;
}

/// All that answers depend on beside the problem.
std::string made_for() {
  int runtime = 0;
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, current_gpu()) != cudaSuccess ||
      cudaRuntimeGetVersion(&runtime) != cudaSuccess)
    return {};
  return str(properties.name, "-cuda", runtime, '-', library::versions(), "-kernels-", ESPALIER_GPU_SOURCES);
}

std::string file_of(const std::string& made_for) {
  if (const char* path = std::getenv("ESPALIER_TUNING")) return path;
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (made_for.empty() || ((!cache || !*cache) && (!home || !*home))) return {};
  const std::filesystem::path folder =
      (cache && *cache ? std::filesystem::path(cache) : std::filesystem::path(home) / ".cache") / "espalier";
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  std::string name = str("tuning-", made_for, ".txt");
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-') c = '_';
  return (folder / name).string();
}

Autotuner& tuner() {
  static Autotuner one = [] {
    const std::string what = made_for();
    return Autotuner(file_of(what), what, time_candidate);
  }();
  return one;
}

bool capturing() {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream(), &status) != cudaSuccess || status != cudaStreamCaptureStatusNone;
}

}  // namespace

void force_candidate(const char* name) { forced = name; }

bool forced_ran(const std::function<void()>& work) {
  forced_took = false;
  work();
  return forced_took;
}

bool run_fastest(const Autotuner::Problem& problem, std::span<const Candidate> candidates,
                 std::initializer_list<Output> outputs) {
  if (forced) {
    for (const Candidate& candidate : candidates)
      if (!std::strcmp(candidate.name, forced)) forced_took = candidate.run();
    return true;
  }
  if (!switched_off() && tuner().asks_for(problem) && !capturing()) {
    const CandidateResults results(Device::kCuda, outputs);
    tuner().tune(problem, candidates, [&](const Candidate& general, const Candidate& other) {
      return results.compare(general, other);
    });
  }
  if (!switched_off()) return tuner().run(problem, candidates);
  for (const Candidate& candidate : candidates)
    if (candidate.run()) return true;
  return false;
}

Autotuner::Problem problem_of(int operation, int operands, const ConvShape& s, int variant) {
  return {operation, operands, variant,  s.N,       s.H,        s.W,          s.C,        s.K,
          s.R,       s.S,      s.stride, s.pad.top, s.pad.left, s.pad.bottom, s.pad.right};
}

}  // namespace espalier::kernels::cuda

namespace espalier::kernels {

std::string kernel_choices() {
  return cuda_name().empty() || cuda::switched_off() ? std::string() : cuda::tuner().taken();
}

bool repeat_kernel_choices(const std::string& choices) {
  return choices.empty() || (!cuda_name().empty() && cuda::tuner().take_over(choices));
}

}  // namespace espalier::kernels
