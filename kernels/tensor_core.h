#pragma once
// How a tile loop feeds the tensor cores: one struct per arithmetic, over operands that lie in shared memory
// as rows of 32-bit words.
//
// A lane reads four neighbouring words of a row at once: words 4t .. 4t+3 of a run of 16, t = lane % 4. The
// instruction wants words t and t + 4 of a run of 8; since a sum does not depend on the order of its terms,
// the runs are dealt out to suit the loads, the same way in both operands: step s of two takes words 4t + 2s
// and 4t + 2s + 1.

#include "kernels/warp.h"

namespace espalier::kernels::tensor_core {

using warp::Word2;
using warp::Word4;

/// fp32 in memory, rounded to TF32 where it is multiplied.
struct Tf32 {
  using Sum = float;
  static constexpr int kPerWord = 1;
  struct A {
    uint32_t word[2][4];
  };
  struct B {
    uint32_t word[2][2];
  };
  /// Rows `group` and `group + 8`.
  ESPALIER_SIMT static A left(const Word4& low, const Word4& high) {
    A a;
    ESPALIER_UNROLL
    for (int s = 0; s < 2; ++s) ESPALIER_UNROLL
    for (int i = 0; i < 2; ++i) {
      a.word[s][2 * i] = warp::to_tf32(warp::float_of(low.v[2 * s + i]));
      a.word[s][2 * i + 1] = warp::to_tf32(warp::float_of(high.v[2 * s + i]));
    }
    return a;
  }
  ESPALIER_SIMT static B right(const Word4& w) {
    B b;
    ESPALIER_UNROLL
    for (int i = 0; i < 4; ++i) b.word[i / 2][i % 2] = warp::to_tf32(warp::float_of(w.v[i]));
    return b;
  }
  ESPALIER_SIMT static void multiply(Sum (&d)[4], const A& a, const B& b) {
    ESPALIER_UNROLL
    for (int s = 0; s < 2; ++s) warp::multiply_tf32(d, a.word[s], b.word[s]);
  }
};

/// fp32 in memory, each number as a TF32 and the TF32 of what that leaves: three products make nearly the
/// fp32 one (the product of the two rests is below its last bit).
struct SplitTf32 {
  using Sum = float;
  static constexpr int kPerWord = 1;
  struct A {
    Tf32::A large, rest;
  };
  struct B {
    Tf32::B large, rest;
  };
  ESPALIER_SIMT static uint32_t rest_of(uint32_t word, uint32_t large) {
    return warp::bits_of(warp::float_of(word) - warp::float_of(large));
  }
  ESPALIER_SIMT static A left(const Word4& low, const Word4& high) {
    A a;
    a.large = Tf32::left(low, high);
    Word4 l, h;
    ESPALIER_UNROLL
    for (int i = 0; i < 4; ++i) {
      l.v[i] = rest_of(low.v[i], a.large.word[i / 2][2 * (i % 2)]);
      h.v[i] = rest_of(high.v[i], a.large.word[i / 2][2 * (i % 2) + 1]);
    }
    a.rest = Tf32::left(l, h);
    return a;
  }
  ESPALIER_SIMT static B right(const Word4& w) {
    B b;
    b.large = Tf32::right(w);
    Word4 rest;
    ESPALIER_UNROLL
    for (int i = 0; i < 4; ++i) rest.v[i] = rest_of(w.v[i], b.large.word[i / 2][i % 2]);
    b.rest = Tf32::right(rest);
    return b;
  }
  ESPALIER_SIMT static void multiply(Sum (&d)[4], const A& a, const B& b) {
    Tf32::multiply(d, a.rest, b.large);
    Tf32::multiply(d, a.large, b.rest);
    Tf32::multiply(d, a.large, b.large);
  }
};

/// fp32 in memory, rounded to bf16 where it is multiplied.
struct RoundedBf16 {
  using Sum = float;
  static constexpr int kPerWord = 1;
  struct A {
    uint32_t word[4];
  };
  struct B {
    uint32_t word[2];
  };
  ESPALIER_SIMT static uint32_t pair(const Word4& w, int first) {
    return warp::to_bf16_pair(warp::float_of(w.v[first]), warp::float_of(w.v[first + 1]));
  }
  ESPALIER_SIMT static A left(const Word4& low, const Word4& high) {
    return {{pair(low, 0), pair(high, 0), pair(low, 2), pair(high, 2)}};
  }
  ESPALIER_SIMT static B right(const Word4& w) { return {{pair(w, 0), pair(w, 2)}}; }
  ESPALIER_SIMT static void multiply(Sum (&d)[4], const A& a, const B& b) {
    warp::multiply_bf16(d, a.word, b.word);
  }
};

/// Element e of four neighbours in each of four rows, as a sum over rows takes them.
ESPALIER_SIMT Word4 column(const Word4 (&w)[4], int e) {
  return {{w[0].v[e], w[1].v[e], w[2].v[e], w[3].v[e]}};
}
/// The same where a word holds two: rows 0 and 1, rows 2 and 3.
ESPALIER_SIMT Word2 column(const Word2 (&w)[4], int e) {
  const uint32_t half = e % 2 ? 0x7632 : 0x5410;
  return {{warp::permute_bytes(w[0].v[e / 2], w[1].v[e / 2], half),
           warp::permute_bytes(w[2].v[e / 2], w[3].v[e / 2], half)}};
}

/// bf16 in memory, whose neighbours do not belong to the same sum: column() has made pairs of them.
struct PairedBf16 {
  using Sum = float;
  static constexpr int kPerWord = 2;
  using A = RoundedBf16::A;
  using B = RoundedBf16::B;
  ESPALIER_SIMT static A left(const Word2& low, const Word2& high) {
    return {{low.v[0], high.v[0], low.v[1], high.v[1]}};
  }
  ESPALIER_SIMT static B right(const Word2& w) { return {{w.v[0], w.v[1]}}; }
  ESPALIER_SIMT static void multiply(Sum (&d)[4], const A& a, const B& b) { RoundedBf16::multiply(d, a, b); }
};

/// What needs no conversion: the words go to the instruction as they are.
template <class Instruction>
struct Direct {
  using Sum = typename Instruction::Sum;
  static constexpr int kPerWord = Instruction::kPerWord;
  struct A {
    uint32_t word[2][4];
  };
  struct B {
    uint32_t word[2][2];
  };
  ESPALIER_SIMT static A left(const Word4& low, const Word4& high) {
    return {{{low.v[0], high.v[0], low.v[1], high.v[1]}, {low.v[2], high.v[2], low.v[3], high.v[3]}}};
  }
  ESPALIER_SIMT static B right(const Word4& w) { return {{{w.v[0], w.v[1]}, {w.v[2], w.v[3]}}}; }
  ESPALIER_SIMT static void multiply(Sum (&d)[4], const A& a, const B& b) {
    ESPALIER_UNROLL
    for (int s = 0; s < 2; ++s) Instruction::run(d, a.word[s], b.word[s]);
  }
};

struct Bf16Instruction {
  using Sum = float;
  static constexpr int kPerWord = 2;
  ESPALIER_SIMT static void run(Sum (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    warp::multiply_bf16(d, a, b);
  }
};
template <bool kUnsigned>
struct CodeInstruction {
  using Sum = int32_t;
  static constexpr int kPerWord = 4;
  ESPALIER_SIMT static void run(Sum (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    warp::multiply_8bit<kUnsigned>(d, a, b);
  }
};

/// bf16 in memory.
using StoredBf16 = Direct<Bf16Instruction>;
/// u8 or s8 codes times s8 filters, exact.
using U8 = Direct<CodeInstruction<true>>;
using S8 = Direct<CodeInstruction<false>>;

/// A block of kWarpsM x kWarpsN warps; a warp has 16 * kRowTiles x 32 sums, of which a lane holds
/// 4 * kRowTiles tiles of 16 x 8. kBlocks of them share a multiprocessor, which bounds a thread's registers.
template <int kWarpsM_, int kWarpsN_, int kRowTiles_, int kBlocks_>
struct TileShape {
  static constexpr int kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kRowTiles = kRowTiles_, kBlocks = kBlocks_;
  static constexpr int kColumnTiles = 4;
  static constexpr int kM = kWarpsM * 16 * kRowTiles, kN = kWarpsN * 32;
  static constexpr int kThreads = kWarpsM * kWarpsN * warp::kLanes;
};

}  // namespace espalier::kernels::tensor_core
