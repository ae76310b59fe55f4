#pragma once
// Grids and parts of the depthwise loops, for the GPU and, in the tests, for the emulator. Each returns
// false, having done nothing, where the machine's blocks have too little shared memory.

#include "kernels/depthwise_loops.h"
#include "kernels/sum_parts.h"

namespace espalier::kernels::strips {

template <class Pass, class Machine>
void launch_walk(Machine& machine, const Cut& cut, const Pass& pass) {
  machine.launch(Walk<Pass>{cut, pass}, cut.groups, cut.parts);
}

/// output(parts) makes the kernel's Output; returns the parts, 0 where it does not fit.
template <int kStride, class Output, class Machine, class T, class Make>
int run_forward(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm, const float* w,
                const Make& output) {
  using Pass = Forward<kStride, T, Output>;
  if (!machine.template fits<Walk<Pass>>()) return 0;
  const Cut cut(s.C, s.Q(), s.P(), s.N, Pass::kUnits, Pass::kLead);
  launch_walk(machine, cut,
              Pass{s.H, s.W, s.P(), s.Q(), s.C, s.pad.top, s.pad.left, x, norm, w, output(cut.parts)});
  return cut.parts;
}

template <class Output, class Machine, class T, class Make>
int run_forward(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm, const float* w,
                const Make& output) {
  return s.stride == 1 ? run_forward<1, Output>(machine, s, x, norm, w, output)
                       : run_forward<2, Output>(machine, s, x, norm, w, output);
}

template <class Machine, class T>
bool forward(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm, const float* w,
             const EpilogueOf<T>& e, T* y) {
  const bool plain = !e.bias && !e.residual && e.act.is_none();
  return run_forward<PlainOutput<T>>(machine, s, x, norm, w, [&](int) {
           return PlainOutput<T>{e, plain, y};
         }) > 0;
}

/// The same without epilogue, and the results' moments [2,C].
template <class Machine, class T>
bool forward_with_moments(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm,
                          const float* w, T* y, float* moments) {
  float* sums = nullptr;
  const int parts = run_forward<MomentsOutput<T>>(machine, s, x, norm, w, [&](int count) {
    sums = machine.scratch(channels::moment_floats(count, s.C));
    return MomentsOutput<T>{y, sums};
  });
  if (!parts) return false;
  channels::merge_moments<Machine, float>(machine, parts, s.C, nullptr, sums, moments, moments + s.C);
  return true;
}

/// The gradients that kWants names; what it does not name is null. sums as in NormedGradients.
template <int kStride, Wants kWants, class Machine, class T>
bool run_gradients(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm,
                   const OutputGradient<T>& dy, const float* w, T* dx, float* sums, float* dw) {
  using Pass = Gradients<kStride, T, kWants>;
  if (!machine.template fits<Walk<Pass>>()) return false;
  const Cut cut(s.C, Pass::columns(s), Pass::rows(s), s.N, Pass::kUnits, Pass::kLead);
  const int64_t columns = int64_t{Pass::kSums} * s.C, of_norm = columns - int64_t{kTaps} * s.C;
  float* parts = columns ? machine.scratch(cut.parts * columns + kTaps * s.C) : nullptr;
  launch_walk(machine, cut,
              Pass{s.H, s.W, s.P(), s.Q(), s.C, s.pad.top, s.pad.left, x, norm, dy, w, dx, parts});
  if (kWants == Wants::kFilter) sum_parts(machine, SumParts{columns, cut.parts, parts, dw});
  if (kWants == Wants::kBoth)
    sum_parts(machine,
              SumParts{columns, cut.parts, parts, sums, dw ? dw : parts + cut.parts * columns, of_norm});
  return true;
}

template <Wants kWants, class Machine, class T>
bool run_gradients(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm,
                   const OutputGradient<T>& dy, const float* w, T* dx, float* sums, float* dw) {
  return s.stride == 1 ? run_gradients<1, kWants>(machine, s, x, norm, dy, w, dx, sums, dw)
                       : run_gradients<2, kWants>(machine, s, x, norm, dy, w, dx, sums, dw);
}

template <class Machine, class T>
bool backward_x(Machine& machine, const ConvShape& s, const T* dy, const float* w, T* dx) {
  return run_gradients<Wants::kData, Machine, T>(machine, s, nullptr, {}, {.g = dy}, w, dx, nullptr, nullptr);
}

template <class Machine, class T>
bool backward_w(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm, const T* dy,
                float* dw) {
  return run_gradients<Wants::kFilter, Machine, T>(machine, s, x, norm, {.g = dy}, nullptr, nullptr, nullptr,
                                                   dw);
}

/// Both gradients in one pass, through the norm that x was read with; dw may be null.
template <class Machine, class T>
bool backward_through_norm(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm,
                           const OutputGradient<T>& dy, const float* w, T* dx, float* sums, float* dw) {
  return run_gradients<Wants::kBoth>(machine, s, x, norm, dy, w, dx, sums, dw);
}

}  // namespace espalier::kernels::strips
