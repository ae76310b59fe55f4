#pragma once
// Grids and parts of the depthwise loops, for the GPU and, in the tests, for the emulator.

#include "kernels/conv2d.h"
#include "kernels/depthwise_loops.h"
#include "kernels/sum_parts.h"

namespace espalier::kernels::strips {

/// Threads that keep a large GPU's memory busy; a constant, so that sums do not depend on the device.
constexpr int64_t kThreadsWanted = 256 * 1024;

/// Rows of a strip where every thread has one: as many as leave enough threads, and at least 4, since a strip
/// reads two rows more.
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

template <class T>
Source<T> source_of(const ConvShape& s, const T* x, const InputNorm& norm) {
  return {s.H, s.W, s.C, x, norm};
}

inline int64_t blocks_of(const Strips& strips, int threads) { return (strips.count + threads - 1) / threads; }

/// A grid for kernels that sum up per channel, in which a thread takes several strips of its channels: blocks
/// of channels, and parts of the strips.
struct SumGrid {
  static constexpr int64_t kMultiprocessors = 132;  ///< of an H100; a constant, for the same sums anywhere

  int64_t blocks;
  int parts = 1, length = 1;

  /// As many blocks as are at work at once, of which a multiprocessor holds `resident`.
  SumGrid(int channels, int columns, int rows, int images, int threads, int resident)
      : blocks((channels / 4 + channels::kGroups - 1) / channels::kGroups) {
    const int64_t at_once = threads / channels::kGroups;
    const int64_t at_work = kMultiprocessors * resident, wanted = blocks < at_work ? at_work / blocks : 1;
    // The longest of all threads' work decides: its strips, each with the two rows more that it reads.
    int64_t least = 0;
    for (int cuts = 1; cuts <= rows; ++cuts) {
      const int of_this = (rows + cuts - 1) / cuts;
      const int64_t strips = strips_of(of_this, columns, rows, images),
                    most = (strips + at_once - 1) / at_once;
      const int64_t used = wanted < most ? wanted : most;
      const int64_t cost = (strips + used * at_once - 1) / (used * at_once) * (of_this + 2);
      if (least && cost >= least) continue;
      least = cost;
      length = of_this;
      parts = static_cast<int>(used);
    }
  }
  Strips strips(int columns, int rows, int images) const { return Strips(4, columns, rows, images, length); }

 private:
  static int64_t strips_of(int length, int columns, int rows, int images) {
    return int64_t{(columns + kColumns - 1) / kColumns} * ((rows + length - 1) / length) * images;
  }
};

/// Strips of a pass over [images, rows, columns, channels], and its grid.
template <class Output>
struct Cut {
  SumGrid grid;
  Strips strips;

  Cut(int channels, int columns, int rows, int images)
      : grid(channels, columns, rows, images, Output::kThreads, Output::kBlocks),
        strips(Output::kReduces
                   ? grid.strips(columns, rows, images)
                   : Strips(channels, columns, rows, images, strip_length(channels, columns, rows, images))) {
  }
  int64_t blocks() const { return Output::kReduces ? grid.blocks : blocks_of(strips, Output::kThreads); }
  int parts() const { return Output::kReduces ? grid.parts : 1; }
};

/// output(parts) makes the kernel's Output; returns the parts.
template <class Output, class Machine, class T, class Make>
int run_forward(Machine& machine, const ConvShape& s, const Source<T>& source, const float* w,
                const Make& output) {
  const Cut<Output> cut(s.C, s.Q(), s.P(), s.N);
  const auto run = [&](auto kernel) { machine.launch(kernel, cut.blocks(), cut.parts()); };
  const Output out = output(cut.parts());
  if (s.stride == 1)
    run(Forward<1, T, Output>{cut.strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, false, w, cut.parts(),
                              out});
  else
    run(Forward<2, T, Output>{cut.strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, false, w, cut.parts(),
                              out});
  return cut.parts();
}

template <class Machine, class T>
void forward(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm, const float* w,
             const EpilogueOf<T>& e, T* y) {
  run_forward<PlainOutput<T>>(machine, s, source_of(s, x, norm), w, [&](int) {
    return PlainOutput<T>{e, y};
  });
}

/// The same without epilogue, and the results' moments [2,C].
template <class Machine, class T>
void forward_with_moments(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm,
                          const float* w, T* y, float* moments) {
  float* sums = nullptr;
  const int parts = run_forward<MomentsOutput<T>>(machine, s, source_of(s, x, norm), w, [&](int count) {
    sums = machine.scratch(channels::moment_floats(count, s.C));
    return MomentsOutput<T>{y, sums};
  });
  channels::merge_moments<Machine, float>(machine, parts, s.C, nullptr, sums, moments, moments + s.C);
}

template <class Output, class Machine, class T, class Make>
int run_backward_x(Machine& machine, const ConvShape& s, const T* dy, const float* w, const Make& output) {
  const auto run = [&](const Cut<Output>& cut, const auto& kernel) {
    machine.launch(kernel(cut.strips, cut.parts()), cut.blocks(), cut.parts());
    return cut.parts();
  };
  if (s.stride == 1) {
    return run({s.C, s.W, s.H, s.N}, [&](const Strips& strips, int parts) {
      return Forward<1, T, Output>{strips,
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
  return run({s.C, columns, rows, s.N}, [&](const Strips& strips, int parts) {
    return BackwardXStride2<T, Output>{strips,    s.H,        s.W, s.P(), s.Q(), s.C,
                                       s.pad.top, s.pad.left, dy,  w,     parts, output(parts)};
  });
}

template <class Machine, class T>
void backward_x(Machine& machine, const ConvShape& s, const T* dy, const float* w, T* dx) {
  run_backward_x<PlainOutput<T>>(machine, s, dy, w, [&](int) { return PlainOutput<T>{{}, dx}; });
}

/// The same through the norm that x was read with; sums as in NormedGradients.
template <class Machine, class T>
void backward_x_through_norm(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm,
                             const T* dy, const float* w, T* dx, float* sums) {
  float* partial = nullptr;
  const int parts = run_backward_x<NormGradientOutput<T>>(machine, s, dy, w, [&](int count) {
    partial = machine.scratch(int64_t{2} * count * s.C);
    return NormGradientOutput<T>{x, norm, dx, partial};
  });
  machine.launch(SumParts{2 * s.C, parts, partial, sums}, SumParts::blocks(2 * s.C), 1);
}

template <class Machine, class T>
void backward_w(Machine& machine, const ConvShape& s, const T* x, const InputNorm& norm, const T* dy,
                float* dw) {
  const SumGrid grid(s.C, s.Q(), s.P(), s.N, BackwardW<1, T>::kThreads, BackwardW<1, T>::kBlocks);
  const Strips strips = grid.strips(s.Q(), s.P(), s.N);
  const int parts = grid.parts;
  float* sums = parts > 1 ? machine.scratch(int64_t{parts} * kTaps * s.C) : dw;
  const Source<T> source = source_of(s, x, norm);
  if (s.stride == 1)
    machine.launch(BackwardW<1, T>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, parts, dy, sums},
                   grid.blocks, parts);
  else
    machine.launch(BackwardW<2, T>{strips, source, s.P(), s.Q(), s.pad.top, s.pad.left, parts, dy, sums},
                   grid.blocks, parts);
  if (parts > 1) machine.launch(SumParts{kTaps * s.C, parts, sums, dw}, SumParts::blocks(kTaps * s.C), 1);
}

}  // namespace espalier::kernels::strips
