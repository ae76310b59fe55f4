#pragma once
// How Winograd's methods cut an image into tiles of outputs, and these into runs that are transformed
// together.

#include <algorithm>

#include "kernels/conv_shape.h"

namespace espalier::kernels::winograd {

/// Neighbouring tiles of one line of tiles.
struct Run {
  int n, p, q;  ///< image and first output
  int tiles;
};

/// Tiles of out x out outputs; the last ones of an image may stick out.
struct Tiling {
  const ConvShape& s;
  int out;
  int down, across;  ///< tiles of an image

  Tiling(const ConvShape& s, int out)
      : s(s), out(out), down((s.P() + out - 1) / out), across((s.Q() + out - 1) / out) {}
  int tiles() const { return s.N * down * across; }

  /// What begins at tile t, with at most `most` tiles.
  Run run(int t, int most) const {
    const int column = t % across;
    return {t / (down * across), t / across % down * out, column * out, std::min(most, across - column)};
  }

  /// visit(run, tiles of [first, last) before it) for all runs of [first, last), with at most `most` tiles
  /// each.
  template <class Visit>
  void for_runs(int first, int last, int most, const Visit& visit) const {
    for (int t = first; t < last;) {
      const Run next = run(t, std::min(most, last - t));
      visit(next, t - first);
      t += next.tiles;
    }
  }
};

}  // namespace espalier::kernels::winograd
