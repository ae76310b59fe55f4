#pragma once
// What happens to an operand's words between shared memory and the tensor cores.

#include "kernels/normed_conv.h"
#include "kernels/warp.h"

namespace espalier::kernels {

struct PlainLoad {
  struct State {};
  ESPALIER_SIMT State begin(int, int) const { return {}; }
  template <class Words>
  ESPALIER_SIMT static Words apply(const PlainLoad&, const State&, const Words& w) {
    return w;
  }
};

/// z = act(factor[c] * x + offset[c]), for convolutions of one pixel without padding: what is padded would
/// not be 0. Channels beyond C are 0 in the other operand.
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
  /// Four floats.
  ESPALIER_SIMT static warp::Word4 apply(const NormLoad& load, const State& s, const warp::Word4& w) {
    warp::Word4 z;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k)
      z.v[k] = warp::bits_of(load.norm.act(fmaf(s.factor.v[k], warp::float_of(w.v[k]), s.offset.v[k])));
    return z;
  }
  /// Four bf16.
  ESPALIER_SIMT static warp::Word2 apply(const NormLoad& load, const State& s, const warp::Word2& w) {
    const warp::Word4 z =
        apply(load, s, warp::Word4{{w.v[0] << 16, w.v[0] & 0xffff0000u, w.v[1] << 16, w.v[1] & 0xffff0000u}});
    return {{warp::to_bf16_pair(warp::float_of(z.v[0]), warp::float_of(z.v[1])),
             warp::to_bf16_pair(warp::float_of(z.v[2]), warp::float_of(z.v[3]))}};
  }
};

/// The same of words that hold two bf16 each, eight channels at a time.
struct NormLoadOfPairs {
  NormLoad norm;
  struct State {
    NormLoad::State low, high;
  };
  ESPALIER_SIMT State begin(int word, int C) const {
    return {norm.begin(2 * word, C), norm.begin(2 * word + 4, C)};
  }
  ESPALIER_SIMT static warp::Word4 apply(const NormLoadOfPairs& load, const State& s, const warp::Word4& w) {
    const warp::Word2 low = NormLoad::apply(load.norm, s.low, warp::Word2{{w.v[0], w.v[1]}}),
                      high = NormLoad::apply(load.norm, s.high, warp::Word2{{w.v[2], w.v[3]}});
    return {{low.v[0], low.v[1], high.v[0], high.v[1]}};
  }
};

}  // namespace espalier::kernels
