#include "kernels/elementwise.h"

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

struct AddInto {
  const float* x;
  float* sum;
  ESPALIER_HD void operator()(int64_t i) const { sum[i] += x[i]; }
};

struct AddForward {
  const float *a, *b;
  float* y;
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

void add_into(Device device, int64_t n, const float* x, float* sum) { for_each(device, n, AddInto{x, sum}); }
void add_forward(Device device, int64_t n, const float* a, const float* b, float* y) {
  for_each(device, n, AddForward{a, b, y});
}
void fill(Device device, int64_t n, float value, float* x) { for_each(device, n, Fill{value, x}); }
void scale_in_place(Device device, int64_t n, float factor, float* x) {
  for_each(device, n, ScaleInPlace{factor, x});
}

}  // namespace espalier::kernels
