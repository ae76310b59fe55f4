#pragma once
// For which vectors the INT8 kernels are built: what the layout of packed filters depends on.
//
// AVX-512 VNNI multiplies u8 by s8, four neighbouring codes a lane; s8 activations enter with 128 added,
// which the bias takes away again. AVX2 multiplies pairs of words: codes are widened when lines are copied,
// since its product of bytes saturates.

#include <cstdint>

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define ESPALIER_INT8_VNNI 1
#elif defined(__AVX2__) && defined(__FMA__)
#define ESPALIER_INT8_AVX2 1
#endif

namespace espalier::kernels::int8 {

#ifdef ESPALIER_INT8_AVX2
using Input = int16_t;      ///< an activation's code as the product takes it
using Filter = int16_t;     ///< a filter's
constexpr int kLanes = 8;   ///< s32 sums a vector
constexpr int kGroup = 2;   ///< neighbouring codes that one product adds to a lane
constexpr int kOffset = 0;  ///< added to s8 activations
constexpr int kPack = 2;    ///< vectors of sums whose results fill one vector of inputs
#else
using Input = uint8_t;
using Filter = int8_t;
constexpr int kLanes = 16;
constexpr int kGroup = 4;
constexpr int kOffset = 128;
constexpr int kPack = 4;
#endif
constexpr int kStep = kPack * kLanes;    ///< results of kPack vectors; inputs a vector
constexpr int kBlock = kLanes * kGroup;  ///< filter codes a vector

/// How the results of kPack vectors of sums lie in them.
enum class Order {
  kNatural,      ///< vector v, lane i is result kLanes v + i
  kInterleaved,  ///< vector v, lane i is result 4 kPack (i / 4) + 4 v + i % 4: what unpacking taps gives
};

/// Where Order::kInterleaved has result i of kStep: vector and lane.
constexpr int interleaved_vector(int i) { return i / 4 % kPack; }
constexpr int interleaved_lane(int i) { return i / (4 * kPack) * 4 + i % 4; }

}  // namespace espalier::kernels::int8
