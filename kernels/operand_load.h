#pragma once
// What happens to an operand's words between shared memory and the tensor cores.

#include "kernels/normed_conv.h"
#include "kernels/warp.h"

namespace espalier::kernels {

struct PlainLoad {
  struct State {};
  ESPALIER_SIMT State begin(int, int) const { return {}; }
  ESPALIER_SIMT static warp::Word4 apply(const PlainLoad&, const State&, const warp::Word4& w) { return w; }
};

/// z = act(factor[c] * x + offset[c]) of fp32 words, for convolutions of one pixel without padding: what is
/// padded would not be 0. Channels beyond C are 0 in the other operand.
struct NormLoad {
  InputNorm norm;
  /// Of four neighbouring channels.
  struct State {
    warp::Float4 factor, offset;
  };
  ESPALIER_SIMT State begin(int c, int C) const {
    if (c >= C) return {};
    return {warp::load4(norm.factor + c), warp::load4(norm.offset + c)};
  }
  ESPALIER_SIMT static warp::Word4 apply(const NormLoad& load, const State& s, const warp::Word4& w) {
    warp::Word4 z;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k)
      z.v[k] = warp::bits_of(load.norm.act(fmaf(s.factor.v[k], warp::float_of(w.v[k]), s.offset.v[k])));
    return z;
  }
};

}  // namespace espalier::kernels
