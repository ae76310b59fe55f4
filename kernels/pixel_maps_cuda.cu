#include "kernels/pixel_maps_cuda.h"

#include "kernels/channel_sums.h"
#include "kernels/cuda_launch.h"
#include "kernels/pixel_maps.h"
#include "kernels/softmax_rows.h"

namespace espalier::kernels::cuda {

namespace {

template <class... Pointers>
bool in_fours(int64_t rows, int channels, Pointers... pointers) {
  return channels % 4 == 0 && pixels::fits(rows, channels / 4) && (aligned(pointers) && ...);
}

template <int kChannels = 4, class Map>
bool run(int64_t rows, int channels, const Map& map) {
  Machine machine;
  pixels::for_each_unit(machine, rows, channels / kChannels, map);
  return true;
}

}  // namespace

template <class T>
bool max_pool_forward(const ConvShape& s, const T* x, T* y) {
  const int64_t rows = int64_t{s.N} * s.P() * s.Q();
  return in_fours(rows, s.C, x, y) && run(rows, s.C, pixels::MaxPoolForward<T>{s, x, y});
}

template <class T>
bool max_pool_backward(const ConvShape& s, const T* x, const T* dy, T* dx) {
  const int64_t rows = int64_t{s.N} * s.H * s.W;
  if (!in_fours(rows, s.C, x, dy, dx)) return false;
  if (pixels::MaxPoolBackwardApart<T>::takes(s))
    return run(int64_t{s.N} * s.P() * s.Q(), s.C, pixels::MaxPoolBackwardApart<T>{s, x, dy, dx});
  return run(rows, s.C, pixels::MaxPoolBackward<T>{s, x, dy, dx});
}

template <class T>
bool resize_forward(const ResizeShape& s, const T* x, T* y) {
  const int64_t rows = int64_t{s.N} * s.P * s.Q;
  if (!in_fours(rows, s.C, x, y)) return false;
  constexpr int kMany = pixels::kResizedChannels<T>;
  if (s.C % kMany == 0) return run<kMany>(rows, s.C, pixels::ResizeForward<T, kMany>{s, x, y});
  return run(rows, s.C, pixels::ResizeForward<T>{s, x, y});
}

template <class T>
bool resize_backward(const ResizeShape& s, const T* dy, T* dx) {
  const int64_t rows = int64_t{s.N} * s.H * s.W;
  if (!in_fours(rows, s.C, dy, dx)) return false;
  if (!pixels::ResizeBackwardOfFew<T>::takes(s)) return run(rows, s.C, pixels::ResizeBackward<T>{s, dy, dx});
  constexpr int kMany = pixels::kResizedChannels<T>;
  if (s.C % kMany == 0) return run<kMany>(rows, s.C, pixels::ResizeBackwardOfFew<T, kMany>{s, dy, dx});
  return run(rows, s.C, pixels::ResizeBackwardOfFew<T>{s, dy, dx});
}

template <class T>
bool add_into(int64_t n, const T* x, T* sum) {
  return n % 4 == 0 && in_fours(n / 4, 4, x, sum) && run(n / 4, 4, pixels::AddFours<T>{x, sum});
}

template <class From, class To>
bool cast(int64_t n, const From* x, To* y) {
  return n % 4 == 0 && in_fours(n / 4, 4, x, y) && run(n / 4, 4, pixels::CastFours<From, To>{x, y});
}
template bool cast(int64_t, const float*, Bf16*);
template bool cast(int64_t, const Bf16*, float*);

bool copy_rows(int64_t rows, int64_t bytes, const void* from, int64_t from_stride, void* to,
               int64_t to_stride) {
  Machine machine;
  return pixels::copy_rows(machine, rows, bytes, from, from_stride, to, to_stride);
}

template <class T>
bool global_avg_pool_forward(int N, int pixels, int C, const T* x, float* y) {
  const int64_t rows = int64_t{N} * pixels;
  if (!in_fours(rows, C, x, y) || N > 65535) return false;
  const channels::RowParts images(rows, C, pixels);
  Machine machine;
  machine.launch(channels::Sums<channels::Means<T>>{images, {{x}, static_cast<float>(pixels)}, y},
                 images.blocks(), images.count());
  return true;
}

#define ESPALIER_FOR(T)                                                      \
  template bool add_into(int64_t, const T*, T*);                             \
  template bool max_pool_forward(const ConvShape&, const T*, T*);            \
  template bool max_pool_backward(const ConvShape&, const T*, const T*, T*); \
  template bool resize_forward(const ResizeShape&, const T*, T*);            \
  template bool resize_backward(const ResizeShape&, const T*, T*);           \
  template bool global_avg_pool_forward(int, int, int, const T*, float*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

bool softmax_cross_entropy_forward(const CrossEntropyProblem& p, float* losses) {
  if (p.K < rows::kLeastLogits) return false;
  const rows::SoftmaxRows kernel{p, {}, losses, nullptr};
  cuda::launch(kernel, kernel.blocks());
  return true;
}

bool softmax_cross_entropy_backward(const CrossEntropyProblem& p, const LossFactor& factor, float* dx) {
  if (p.K < rows::kLeastLogits) return false;
  const rows::SoftmaxRows kernel{p, factor, nullptr, dx};
  cuda::launch(kernel, kernel.blocks());
  return true;
}

}  // namespace espalier::kernels::cuda
