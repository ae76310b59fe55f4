#ifdef ESPALIER_HAS_CUDNN

#include <cublasLt.h>

#include <array>
#include <map>
#include <mutex>

#include "kernels/conv2d_library.h"
#include "kernels/cuda_scratch.h"
#include "kernels/device.h"

namespace espalier::kernels::library {

namespace {

constexpr size_t kWorkspace = size_t{32} << 20;

bool ok(cublasStatus_t status) { return status == CUBLAS_STATUS_SUCCESS; }

/// c = op(a) op(b) as the library sees it: columns first. c is m x n, the sums have `depth` terms.
struct Product {
  bool turn_a, turn_b;
  int64_t m, n, depth;
  cudaDataType_t operands = CUDA_R_32F, result = CUDA_R_32F;

  auto operator<=>(const Product&) const = default;
};

struct Plan {
  cublasLtMatmulDesc_t matmul = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool usable = false;
};

/// One for all threads, because none can be made while launches are recorded, which may be in a thread that
/// calls the library for the first time.
cublasLtHandle_t handle() {
  current_stream();  // a handle is the thread's GPU's
  static const cublasLtHandle_t made = [] {
    cublasLtHandle_t h = nullptr;
    return ok(cublasLtCreate(&h)) ? h : nullptr;
  }();
  return made;
}

cublasComputeType_t compute_type(const Product& p, Precision precision) {
  if (p.operands != CUDA_R_32F || precision == Precision::kFp32) return CUBLAS_COMPUTE_32F;
  return precision == Precision::kTf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F_FAST_16BF;
}

bool layout(cublasLtMatrixLayout_t* out, cudaDataType_t type, bool turned, int64_t rows, int64_t columns) {
  const uint64_t r = static_cast<uint64_t>(turned ? columns : rows),
                 c = static_cast<uint64_t>(turned ? rows : columns);
  return ok(cublasLtMatrixLayoutCreate(out, type, r, c, static_cast<int64_t>(r)));
}

void prepare(const Product& p, Precision precision, Plan& plan) {
  const cublasOperation_t a = p.turn_a ? CUBLAS_OP_T : CUBLAS_OP_N, b = p.turn_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  if (!ok(cublasLtMatmulDescCreate(&plan.matmul, compute_type(p, precision), CUDA_R_32F)) ||
      !ok(cublasLtMatmulDescSetAttribute(plan.matmul, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a)) ||
      !ok(cublasLtMatmulDescSetAttribute(plan.matmul, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b)) ||
      !layout(&plan.a, p.operands, p.turn_a, p.m, p.depth) ||
      !layout(&plan.b, p.operands, p.turn_b, p.depth, p.n) || !layout(&plan.c, p.result, false, p.m, p.n))
    return;
  cublasLtMatmulPreference_t preference = nullptr;
  if (!ok(cublasLtMatmulPreferenceCreate(&preference))) return;
  // Sums split over blocks go through the workspace, in order: nothing is added atomically.
  const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspace,
                                       sizeof kWorkspace);
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                       sizeof reductions);
  // Tensors in a session's arena begin at multiples of 64 bytes, and rows of some widths at no more than 4.
  // Without this the library takes 256 for granted.
  constexpr uint32_t kAligned = 16;
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    cublasLtMatmulPreferenceSetAttribute(preference, attribute, &kAligned, sizeof kAligned);
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  plan.usable = ok(cublasLtMatmulAlgoGetHeuristic(handle(), plan.matmul, plan.a, plan.b, plan.c, plan.c,
                                                  preference, 1, &found, &count)) &&
                count > 0;
  plan.algorithm = found.algo;
  cublasLtMatmulPreferenceDestroy(preference);
}

bool multiply(const Product& product, Precision precision, const void* a, const void* b, void* c) {
  if (!handle()) return false;
  static std::mutex mutex;
  static std::map<std::pair<Product, Precision>, Plan> plans;
  const std::lock_guard lock(mutex);
  const auto [at, fresh] = plans.try_emplace({product, precision});
  Plan& plan = at->second;
  if (fresh) prepare(product, precision, plan);
  if (!plan.usable) return false;
  constexpr float kOne = 1, kZero = 0;
  void* workspace =
      cuda::scratch(cuda::ScratchUse::kLibrary, static_cast<int64_t>(kWorkspace / sizeof(float)));
  if (!ok(cublasLtMatmul(handle(), plan.matmul, &kOne, a, plan.a, b, plan.b, &kZero, c, plan.c, c, plan.c,
                         &plan.algorithm, workspace, kWorkspace,
                         static_cast<cudaStream_t>(current_stream()))))
    return false;
  check_launch("a product by cuBLASLt");
  return true;
}

bool pointwise(const ConvShape& s) { return s.R == 1 && s.S == 1 && s.stride == 1 && s.pad == Padding{}; }

int64_t pixels(const ConvShape& s) { return int64_t{s.N} * s.H * s.W; }

}  // namespace

// Rows of the tensors are columns to the library: x is C x pixels, w is C x K, y is K x pixels.

template <class T>
constexpr cudaDataType_t kType = sizeof(T) == 2 ? CUDA_R_16BF : CUDA_R_32F;

template <class T>
bool cublaslt_forward(const ConvShape& s, Precision precision, const T* x, const T* w, T* y) {
  return pointwise(s) && multiply({true, false, s.K, pixels(s), s.C, kType<T>, kType<T>}, precision, w, x, y);
}

template <class T>
bool cublaslt_backward_x(const ConvShape& s, Precision precision, const T* dy, const T* w, T* dx) {
  return pointwise(s) &&
         multiply({false, false, s.C, pixels(s), s.K, kType<T>, kType<T>}, precision, w, dy, dx);
}

template <class T>
bool cublaslt_backward_w(const ConvShape& s, Precision precision, const T* x, const T* dy, float* dw) {
  return pointwise(s) &&
         multiply({false, true, s.C, s.K, pixels(s), kType<T>, CUDA_R_32F}, precision, x, dy, dw);
}

#define ESPALIER_FOR(T)                                                                   \
  template bool cublaslt_forward(const ConvShape&, Precision, const T*, const T*, T*);    \
  template bool cublaslt_backward_x(const ConvShape&, Precision, const T*, const T*, T*); \
  template bool cublaslt_backward_w(const ConvShape&, Precision, const T*, const T*, float*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

}  // namespace espalier::kernels::library

#endif
