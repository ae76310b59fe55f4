// Dense 3x3 convolutions of training by Winograd's method, whose filters are transformed anew for every call.

#include <omp.h>

#include <algorithm>

#include "kernels/conv2d_cpu.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/winograd.h"

namespace espalier::kernels::cpu {

namespace {

template <class Body>
void by_team(const Body& body) {
#pragma omp parallel
  body(Team{omp_get_thread_num(), omp_get_num_threads()});
}

struct Filters;
struct Bias;

}  // namespace

bool conv2d_forward_winograd(const ConvShape& s, const float* x, const float* w, const Epilogue& e,
                             float* y) {
  if (!winograd_pays(s)) return false;
  float* u = scratch<Filters>(static_cast<size_t>(winograd_filter_floats(s.K, s.C)));
  float* bias = nullptr;
  if (e.bias) {
    bias = scratch<Bias>(static_cast<size_t>(s.K) + simd::kLanes);
    std::fill_n(std::copy_n(e.bias, s.K, bias), simd::kLanes, 0.0f);
  }
  by_team([&](const Team& team) { winograd_filters(w, s.K, s.C, u, team); });
  by_team([&](const Team& team) { winograd_conv2d(s, e.act, u, bias, x, e.residual, y, team); });
  return true;
}

bool conv2d_backward_x_winograd(const ConvShape& s, const float* dy, const float* w, float* dx) {
  if (!winograd_applies(s)) return false;
  const ConvShape turned{s.N, s.P(), s.Q(),
                         s.K, s.C,   3,
                         3,   1,     {2 - s.pad.top, 2 - s.pad.left, 2 - s.pad.bottom, 2 - s.pad.right}};
  const bool fits =
      turned.pad.top >= 0 && turned.pad.left >= 0 && turned.pad.bottom >= 0 && turned.pad.right >= 0;
  if (!fits || !winograd_pays(turned)) return false;
  float* u = scratch<Filters>(static_cast<size_t>(winograd_filter_floats(s.C, s.K)));
  by_team([&](const Team& team) { winograd_turned_filters(w, s.K, s.C, u, team); });
  by_team([&](const Team& team) {
    winograd_conv2d(turned, Activation::none(), u, nullptr, dy, nullptr, dx, team);
  });
  return true;
}

}  // namespace espalier::kernels::cpu
