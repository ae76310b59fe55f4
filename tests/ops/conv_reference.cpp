#include "ops/conv_reference.h"

#include <vector>

namespace espalier::test {

namespace {

/// visit(index of x, index of w, index of y) for every product of the convolution.
template <class Visit>
void for_each_product(const kernels::ConvShape& s, bool depthwise, Visit visit) {
  for (int n = 0; n < s.N; ++n)
    for (int p = 0; p < s.P(); ++p)
      for (int q = 0; q < s.Q(); ++q)
        for (int r = 0; r < s.R; ++r)
          for (int t = 0; t < s.S; ++t) {
            const int h = p * s.stride - s.pad.top + r, v = q * s.stride - s.pad.left + t;
            if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
            const int64_t x = ((int64_t{n} * s.H + h) * s.W + v) * s.C;
            const int64_t y = ((int64_t{n} * s.P() + p) * s.Q() + q) * s.K;
            for (int k = 0; k < s.K; ++k) {
              if (depthwise)
                visit(x + k, (int64_t{r} * s.S + t) * s.C + k, y + k);
              else
                for (int c = 0; c < s.C; ++c)
                  visit(x + c, ((int64_t{k} * s.R + r) * s.S + t) * s.C + c, y + k);
            }
          }
}

}  // namespace

ConvReference conv_reference(const kernels::ConvShape& s, bool depthwise, const Tensor& x, const Tensor& w,
                             const Tensor& dy) {
  const std::vector<float> a = x.to_vector(), b = w.to_vector(), g = dy.to_vector();
  const int64_t window = int64_t{s.R} * s.S, pixels = int64_t{s.N} * s.P() * s.Q();
  ConvReference out{Sums(dy.elements(), window * (depthwise ? 1 : s.C)),
                    Sums(x.elements(), window * (depthwise ? 1 : s.K)), Sums(w.elements(), pixels)};
  for_each_product(s, depthwise, [&](int64_t i, int64_t j, int64_t o) {
    const double in = a[static_cast<size_t>(i)], f = b[static_cast<size_t>(j)], d = g[static_cast<size_t>(o)];
    out.y.add(o, in * f);
    out.dx.add(i, d * f);
    out.dw.add(j, d * in);
  });
  return out;
}

}  // namespace espalier::test
