#include "kernels/elementwise.h"

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/pixel_maps_cuda.h"

namespace espalier::kernels {

namespace {

template <class T>
struct AddInto {
  const T* x;
  T* sum;
  ESPALIER_HD void operator()(int64_t i) const { sum[i] = sum[i] + x[i]; }
};

template <class From, class To>
struct Cast {
  const From* x;
  To* y;
  ESPALIER_HD void operator()(int64_t i) const { y[i] = x[i]; }
};

template <class T>
struct AddForward {
  const T *a, *b;
  T* y;
  ESPALIER_HD void operator()(int64_t i) const { y[i] = a[i] + b[i]; }
};

struct Fill {
  float value;
  float* x;
  ESPALIER_HD void operator()(int64_t i) const { x[i] = value; }
};

struct ScaleInPlace {
  float factor;
  float* x;
  ESPALIER_HD void operator()(int64_t i) const { x[i] *= factor; }
};

}  // namespace

template <class T>
void add_into(Device device, int64_t n, const T* x, T* sum) {
  if (fast_on_cuda(device) && cuda::add_into(n, x, sum)) return;
  for_each(device, n, AddInto<T>{x, sum});
}
template void add_into(Device, int64_t, const float*, float*);
template void add_into(Device, int64_t, const Bf16*, Bf16*);

void cast(Device device, int64_t n, const float* x, Bf16* y) {
  if (fast_on_cuda(device) && cuda::cast(n, x, y)) return;
  for_each(device, n, Cast<float, Bf16>{x, y});
}
void cast(Device device, int64_t n, const Bf16* x, float* y) {
  if (fast_on_cuda(device) && cuda::cast(n, x, y)) return;
  for_each(device, n, Cast<Bf16, float>{x, y});
}

template <class T>
void add_forward(Device device, int64_t n, const T* a, const T* b, T* y) {
  for_each(device, n, AddForward<T>{a, b, y});
}
template void add_forward(Device, int64_t, const float*, const float*, float*);
template void add_forward(Device, int64_t, const Bf16*, const Bf16*, Bf16*);
void fill(Device device, int64_t n, float value, float* x) { for_each(device, n, Fill{value, x}); }
void scale_in_place(Device device, int64_t n, float factor, float* x) {
  for_each(device, n, ScaleInPlace{factor, x});
}

}  // namespace espalier::kernels
