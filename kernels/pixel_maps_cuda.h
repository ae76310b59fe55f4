#pragma once
// Pooling, resizing, concatenation, sums and casts of elements, rows of logits and updates of parameters on
// the GPU, with the formulas of their own headers, T float or Bf16. Each returns false, having done nothing,
// for a problem it has no code for.

#include "kernels/elementwise.h"
#include "kernels/max_pool.h"
#include "kernels/optimizer.h"
#include "kernels/resize.h"
#include "kernels/softmax_cross_entropy.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
template <class T>
bool max_pool_forward(const ConvShape& shape, const T* x, T* y);
template <class T>
bool max_pool_backward(const ConvShape& shape, const T* x, const T* dy, T* dx);
template <class T>
bool resize_forward(const ResizeShape& shape, const T* x, T* y);
template <class T>
bool resize_backward(const ResizeShape& shape, const T* dy, T* dx);
template <class T>
bool add_into(int64_t n, const T* x, T* sum);
template <class From, class To>
bool cast(int64_t n, const From* x, To* y);
/// Copies `bytes` of every row between rows of different lengths, given in bytes.
bool copy_rows(int64_t rows, int64_t bytes, const void* from, int64_t from_stride, void* to,
               int64_t to_stride);
template <class T>
bool global_avg_pool_forward(int N, int pixels, int C, const T* x, float* y);
bool softmax_cross_entropy_forward(const CrossEntropyProblem& problem, float* losses);
bool softmax_cross_entropy_backward(const CrossEntropyProblem& problem, const LossFactor& factor, float* dx);
#else
template <class T>
bool max_pool_forward(const ConvShape&, const T*, T*) {
  return false;
}
template <class T>
bool max_pool_backward(const ConvShape&, const T*, const T*, T*) {
  return false;
}
template <class T>
bool resize_forward(const ResizeShape&, const T*, T*) {
  return false;
}
template <class T>
bool resize_backward(const ResizeShape&, const T*, T*) {
  return false;
}
template <class T>
bool add_into(int64_t, const T*, T*) {
  return false;
}
template <class From, class To>
bool cast(int64_t, const From*, To*) {
  return false;
}
inline bool copy_rows(int64_t, int64_t, const void*, int64_t, void*, int64_t) { return false; }
template <class T>
bool global_avg_pool_forward(int, int, int, const T*, float*) {
  return false;
}
inline bool softmax_cross_entropy_forward(const CrossEntropyProblem&, float*) { return false; }
inline bool softmax_cross_entropy_backward(const CrossEntropyProblem&, const LossFactor&, float*) {
  return false;
}
#endif

}  // namespace espalier::kernels::cuda
