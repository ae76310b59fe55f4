#ifdef ESPALIER_HAS_CUDNN

#include <cublasLt.h>
#include <cudnn.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <string>

#include "kernels/conv2d_library.h"
#include "kernels/cuda_scratch.h"
#include "kernels/device.h"

namespace espalier::kernels::library {

namespace {

enum class Pass { kForward, kBackwardX, kBackwardW };

/// Memory that an algorithm may ask for.
constexpr size_t kMostWorkspace = size_t{256} << 20;

bool ok(cudnnStatus_t status) { return status == CUDNN_STATUS_SUCCESS; }

/// One for all threads, because none can be made while launches are recorded, which may be in a thread that
/// calls the library for the first time. It is for one at a time: who uses it holds the mutex.
std::mutex mutex;
cudnnHandle_t handle() {
  const auto stream = static_cast<cudaStream_t>(current_stream());  // first: a handle is the thread's GPU's
  static const cudnnHandle_t made = [] {
    cudnnHandle_t h = nullptr;
    return ok(cudnnCreate(&h)) ? h : nullptr;
  }();
  if (made) cudnnSetStream(made, stream);
  return made;
}

/// A problem's descriptors and algorithm. They live as long as the process.
struct Plan {
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  int algorithm = -1;
  size_t workspace = 0;

  void* scratch() const {
    return workspace ? cuda::scratch(cuda::ScratchUse::kLibrary,
                                     static_cast<int64_t>(workspace / sizeof(float) + 1))
                     : nullptr;
  }
};

/// The library pads both ends alike; what lies beyond the last window does not matter.
bool describable(const ConvShape& s) {
  return (s.H + 2 * s.pad.top - s.R) / s.stride + 1 == s.P() &&
         (s.W + 2 * s.pad.left - s.S) / s.stride + 1 == s.Q();
}

/// What a library multiplies: floats with a rounding, or bf16 as they lie.
enum class Operands { kFp32, kTf32, kBf16 };

template <class T>
Operands operands_of(Precision precision) {
  if (sizeof(T) == 2) return Operands::kBf16;
  return precision == Precision::kFp32 ? Operands::kFp32 : Operands::kTf32;
}

bool describe(const ConvShape& s, Operands operands, Plan& plan) {
  constexpr auto kLayout = CUDNN_TENSOR_NHWC;
  const auto type = operands == Operands::kBf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
  return ok(cudnnCreateTensorDescriptor(&plan.x)) && ok(cudnnCreateTensorDescriptor(&plan.y)) &&
         ok(cudnnCreateFilterDescriptor(&plan.w)) &&
         ok(cudnnCreateConvolutionDescriptor(&plan.convolution)) &&
         ok(cudnnSetTensor4dDescriptor(plan.x, kLayout, type, s.N, s.C, s.H, s.W)) &&
         ok(cudnnSetTensor4dDescriptor(plan.y, kLayout, type, s.N, s.K, s.P(), s.Q())) &&
         ok(cudnnSetFilter4dDescriptor(plan.w, type, kLayout, s.K, s.C, s.R, s.S)) &&
         ok(cudnnSetConvolution2dDescriptor(plan.convolution, s.pad.top, s.pad.left, s.stride, s.stride, 1, 1,
                                            CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT)) &&
         ok(cudnnSetConvolutionMathType(plan.convolution, operands == Operands::kFp32 ? CUDNN_FMA_MATH
                                                          : operands == Operands::kTf32
                                                              ? CUDNN_DEFAULT_MATH
                                                              : CUDNN_TENSOR_OP_MATH));
}

/// Whether an algorithm adds up the products themselves; those of transformed images round more.
bool direct(cudnnConvolutionFwdAlgo_t a) {
  return a == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM ||
         a == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM || a == CUDNN_CONVOLUTION_FWD_ALGO_GEMM ||
         a == CUDNN_CONVOLUTION_FWD_ALGO_DIRECT;
}
bool direct(cudnnConvolutionBwdDataAlgo_t a) {
  return a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 || a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
}
bool direct(cudnnConvolutionBwdFilterAlgo_t a) {
  return a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 || a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 ||
         a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3;
}

/// The first of the library's proposals that sums directly, repeats its bits and keeps the precision. A
/// proposal speaks of an arithmetic of its own, so `need` is asked for the bytes that the algorithm takes
/// with the convolution's.
template <class Proposal, class Ask, class Need>
void choose(Plan& plan, Operands operands, const Ask& ask, const Need& need) {
  std::array<Proposal, 8> proposals{};
  int count = 0;
  if (!ok(ask(static_cast<int>(proposals.size()), &count, proposals.data()))) return;
  for (int i = 0; i < count; ++i) {
    const Proposal& p = proposals[static_cast<size_t>(i)];
    const bool exact = operands != Operands::kFp32 || p.mathType == CUDNN_FMA_MATH;
    if (!ok(p.status) || !direct(p.algo) || p.determinism != CUDNN_DETERMINISTIC || !exact ||
        p.memory > kMostWorkspace)
      continue;
    size_t bytes = 0;
    if (!ok(need(p.algo, &bytes)) || bytes > kMostWorkspace) continue;
    plan.algorithm = static_cast<int>(p.algo);
    plan.workspace = std::max(p.memory, bytes);
    return;
  }
}

/// The mutex is held.
const Plan* plan_of(Pass pass, const ConvShape& s, Operands operands) {
  const cudnnHandle_t h = handle();
  if (!h || !describable(s)) return nullptr;
  using Key = std::array<int, 14>;
  static std::map<Key, Plan> plans;
  const Key key = {static_cast<int>(pass),
                   static_cast<int>(operands),
                   s.N,
                   s.H,
                   s.W,
                   s.C,
                   s.K,
                   s.R,
                   s.S,
                   s.stride,
                   s.pad.top,
                   s.pad.left,
                   s.pad.bottom,
                   s.pad.right};
  const auto [at, fresh] = plans.try_emplace(key);
  Plan& p = at->second;
  if (fresh && describe(s, operands, p)) {
    if (pass == Pass::kForward)
      choose<cudnnConvolutionFwdAlgoPerf_t>(
          p, operands,
          [&](int most, int* count, auto* out) {
            return cudnnGetConvolutionForwardAlgorithm_v7(h, p.x, p.w, p.convolution, p.y, most, count, out);
          },
          [&](auto algorithm, size_t* bytes) {
            return cudnnGetConvolutionForwardWorkspaceSize(h, p.x, p.w, p.convolution, p.y, algorithm, bytes);
          });
    else if (pass == Pass::kBackwardX)
      choose<cudnnConvolutionBwdDataAlgoPerf_t>(
          p, operands,
          [&](int most, int* count, auto* out) {
            return cudnnGetConvolutionBackwardDataAlgorithm_v7(h, p.w, p.y, p.convolution, p.x, most, count,
                                                               out);
          },
          [&](auto algorithm, size_t* bytes) {
            return cudnnGetConvolutionBackwardDataWorkspaceSize(h, p.w, p.y, p.convolution, p.x, algorithm,
                                                                bytes);
          });
    else
      choose<cudnnConvolutionBwdFilterAlgoPerf_t>(
          p, operands,
          [&](int most, int* count, auto* out) {
            return cudnnGetConvolutionBackwardFilterAlgorithm_v7(h, p.x, p.y, p.convolution, p.w, most, count,
                                                                 out);
          },
          [&](auto algorithm, size_t* bytes) {
            return cudnnGetConvolutionBackwardFilterWorkspaceSize(h, p.x, p.y, p.convolution, p.w, algorithm,
                                                                  bytes);
          });
  }
  return p.algorithm < 0 ? nullptr : &p;
}

constexpr float kOne = 1, kZero = 0;

bool launched(cudnnStatus_t status) {
  if (!ok(status)) return false;
  check_launch("a convolution by cuDNN");
  return true;
}

}  // namespace

const char* versions() {
  static const std::string text =
      "cudnn" + std::to_string(cudnnGetVersion()) + "-cublaslt" + std::to_string(cublasLtGetVersion());
  return text.c_str();
}

template <class T>
bool cudnn_forward(const ConvShape& s, Precision precision, const T* x, const T* w, T* y) {
  const std::lock_guard lock(mutex);
  const Plan* p = plan_of(Pass::kForward, s, operands_of<T>(precision));
  return p && launched(cudnnConvolutionForward(handle(), &kOne, p->x, x, p->w, w, p->convolution,
                                               static_cast<cudnnConvolutionFwdAlgo_t>(p->algorithm),
                                               p->scratch(), p->workspace, &kZero, p->y, y));
}

template <class T>
bool cudnn_backward_x(const ConvShape& s, Precision precision, const T* dy, const T* w, T* dx) {
  const std::lock_guard lock(mutex);
  const Plan* p = plan_of(Pass::kBackwardX, s, operands_of<T>(precision));
  return p && launched(cudnnConvolutionBackwardData(handle(), &kOne, p->w, w, p->y, dy, p->convolution,
                                                    static_cast<cudnnConvolutionBwdDataAlgo_t>(p->algorithm),
                                                    p->scratch(), p->workspace, &kZero, p->x, dx));
}

template <class T>
bool cudnn_backward_w(const ConvShape& s, Precision precision, const T* x, const T* dy, T* dw) {
  const std::lock_guard lock(mutex);
  const Plan* p = plan_of(Pass::kBackwardW, s, operands_of<T>(precision));
  return p &&
         launched(cudnnConvolutionBackwardFilter(handle(), &kOne, p->x, x, p->y, dy, p->convolution,
                                                 static_cast<cudnnConvolutionBwdFilterAlgo_t>(p->algorithm),
                                                 p->scratch(), p->workspace, &kZero, p->w, dw));
}

#define ESPALIER_FOR(T)                                                                \
  template bool cudnn_forward(const ConvShape&, Precision, const T*, const T*, T*);    \
  template bool cudnn_backward_x(const ConvShape&, Precision, const T*, const T*, T*); \
  template bool cudnn_backward_w(const ConvShape&, Precision, const T*, const T*, T*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

}  // namespace espalier::kernels::library

#endif
