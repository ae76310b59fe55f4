#pragma once
// Grids and parts of the depthwise loops, for the GPU and, in the tests, for the emulator.

#include "kernels/conv2d.h"
#include "kernels/depthwise_loops.h"
#include "kernels/sum_parts.h"

namespace espalier::kernels::strips {

/// Threads that keep a large GPU's memory busy; a constant, so that sums do not depend on the device.
constexpr int64_t kThreadsWanted = 256 * 1024;

/// Rows of a strip: as many as leave enough threads, and at least 4, since a strip reads two rows more.
inline int strip_length(int channels, int columns, int rows, int images) {
  const int64_t whole = int64_t{channels / 4} * ((columns + 1) / 2) * images;
  const int64_t cuts = (kThreadsWanted + whole - 1) / whole, length = (rows + cuts - 1) / cuts;
  return static_cast<int>(length < 4 ? 4 : length);
}

inline bool takes(const ConvShape& s) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return s.R == kFilter && s.S == kFilter && (s.stride == 1 || s.stride == 2) && s.C % 4 == 0 &&
         int64_t{s.N} * (s.H + s.pad.top + 4) * (s.W + s.pad.left + 4) * (s.C / 4) < kMost;
}

inline Source source_of(const ConvShape& s, const float* x, const InputNorm& norm) {
  return {s.H, s.W, s.C, x, norm};
}

inline int64_t blocks_of(const Strips& strips, int threads) { return (strips.count + threads - 1) / threads; }

/// A grid for kernels that sum up per channel: blocks of channels, and parts of the strips.
struct SumGrid {
  int64_t blocks;
  int parts;

  SumGrid(int channels, const Strips& strips, int threads)
      : blocks((channels / 4 + channels::kGroups - 1) / channels::kGroups) {
    constexpr int64_t kBlocksWanted = 512;
    const int64_t at_once = threads / channels::kGroups, most = (strips.count + at_once - 1) / at_once;
    const int64_t wanted = (kBlocksWanted + blocks - 1) / blocks;
    parts = static_cast<int>(wanted < most ? wanted : most);
  }
};

/// Strips of a pass over [images, rows, columns, channels]; of one group of channels where sums are wanted.
template <class Output>
Strips strips_for(int channels, int columns, int rows, int images) {
  return Strips(Output::kReduces ? 4 : channels, columns, rows, images,
                strip_length(channels, columns, rows, images));
}

/// output(parts) makes the kernel's Output; returns the parts.
template <class Output, class Machine, class Make>
int run_forward(Machine& machine, const ConvShape& s, const Source& source, const float* w,
                const Make& output) {
  const Strips strips = strips_for<Output>(s.C, s.Q(), s.P(), s.N);
  const SumGrid grid(s.C, strips, Output::kThreads);
  const auto run = [&](auto kernel) {
    machine.launch(kernel, Output::kReduces ? grid.blocks : blocks_of(strips, Output::kThreads),
                   Output::kReduces ? grid.parts : 1);
  };
  const Output out = output(grid.parts);
  if (s.stride == 1)
    run(Forward<1, Output>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, false, w, grid.parts, out});
  else
    run(Forward<2, Output>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, false, w, grid.parts, out});
  return grid.parts;
}

template <class Machine>
void forward(Machine& machine, const ConvShape& s, const float* x, const InputNorm& norm, const float* w,
             const Epilogue& e, float* y) {
  run_forward<PlainOutput>(machine, s, source_of(s, x, norm), w, [&](int) { return PlainOutput{e, y}; });
}

/// The same without epilogue, and the results' moments [2,C].
template <class Machine>
void forward_with_moments(Machine& machine, const ConvShape& s, const float* x, const InputNorm& norm,
                          const float* w, float* y, float* moments) {
  float* sums = nullptr;
  const int parts = run_forward<MomentsOutput>(machine, s, source_of(s, x, norm), w, [&](int count) {
    sums = machine.scratch(channels::moment_floats(count, s.C));
    return MomentsOutput{y, sums};
  });
  channels::merge_moments(machine, parts, s.C, nullptr, sums, moments, moments + s.C);
}

template <class Output, class Machine, class Make>
int run_backward_x(Machine& machine, const ConvShape& s, const float* dy, const float* w,
                   const Make& output) {
  const auto run = [&](const Strips& strips, const auto& kernel) {
    const SumGrid grid(s.C, strips, Output::kThreads);
    machine.launch(kernel(grid.parts), Output::kReduces ? grid.blocks : blocks_of(strips, Output::kThreads),
                   Output::kReduces ? grid.parts : 1);
    return grid.parts;
  };
  if (s.stride == 1) {
    const Strips strips = strips_for<Output>(s.C, s.W, s.H, s.N);
    return run(strips, [&](int parts) {
      return Forward<1, Output>{strips,
                                {s.P(), s.Q(), s.C, dy, {}},
                                s.H,
                                s.W,
                                kFilter - 1 - s.pad.top,
                                kFilter - 1 - s.pad.left,
                                true,
                                w,
                                parts,
                                output(parts)};
    });
  }
  const int rows = (s.H - 1 + s.pad.top) / 2 + 1, columns = ((s.W - 1 + s.pad.left) / 2 + 1) * kColumns;
  const Strips strips = strips_for<Output>(s.C, columns, rows, s.N);
  return run(strips, [&](int parts) {
    return BackwardXStride2<Output>{strips,    s.H,        s.W, s.P(), s.Q(), s.C,
                                    s.pad.top, s.pad.left, dy,  w,     parts, output(parts)};
  });
}

template <class Machine>
void backward_x(Machine& machine, const ConvShape& s, const float* dy, const float* w, float* dx) {
  run_backward_x<PlainOutput>(machine, s, dy, w, [&](int) { return PlainOutput{{}, dx}; });
}

/// The same through the norm that x was read with; sums as in NormedGradients.
template <class Machine>
void backward_x_through_norm(Machine& machine, const ConvShape& s, const float* x, const InputNorm& norm,
                             const float* dy, const float* w, float* dx, float* sums) {
  float* partial = nullptr;
  const int parts = run_backward_x<NormGradientOutput>(machine, s, dy, w, [&](int count) {
    partial = machine.scratch(int64_t{2} * count * s.C);
    return NormGradientOutput{x, norm, dx, partial};
  });
  machine.launch(SumParts{2 * s.C, parts, partial, sums}, SumParts::blocks(2 * s.C), 1);
}

template <class Machine>
void backward_w(Machine& machine, const ConvShape& s, const float* x, const InputNorm& norm, const float* dy,
                float* dw) {
  const Strips strips = strips_for<NormGradientOutput>(s.C, s.Q(), s.P(), s.N);
  const SumGrid grid(s.C, strips, BackwardW<1>::kThreads);
  const int parts = grid.parts;
  float* sums = parts > 1 ? machine.scratch(int64_t{parts} * kTaps * s.C) : dw;
  const Source source = source_of(s, x, norm);
  if (s.stride == 1)
    machine.launch(BackwardW<1>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, parts, dy, sums},
                   grid.blocks, parts);
  else
    machine.launch(BackwardW<2>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, parts, dy, sums},
                   grid.blocks, parts);
  if (parts > 1) machine.launch(SumParts{kTaps * s.C, parts, sums, dw}, SumParts::blocks(kTaps * s.C), 1);
}

}  // namespace espalier::kernels::strips
