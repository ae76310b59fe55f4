#pragma once
// What the hand-written tile loops say to the machine: threads of a block, shared memory, barriers,
// asynchronous copies, shuffles and the tensor cores' multiplications.
//
// With nvcc these are the instructions themselves. Without it the same loops compile as C++ against the
// declarations in `emulation`, which tests/support/emulator.cpp defines: every thread of a block becomes a
// fibre, so that a kernel's indexing, tails and synchronisation can be tested on a machine without a GPU. The
// library itself never links the emulator.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/bf16.h"

/// Marks what runs on the device, or in the emulator.
#ifdef __CUDACC__
#define ESPALIER_SIMT __device__ __forceinline__
#define ESPALIER_UNROLL _Pragma("unroll")
#define ESPALIER_UNROLL_BY_4 _Pragma("unroll 4")
#define ESPALIER_NO_UNROLL _Pragma("unroll 1")
#else
#define ESPALIER_SIMT inline
#define ESPALIER_UNROLL
#define ESPALIER_UNROLL_BY_4
#define ESPALIER_NO_UNROLL
#endif

namespace espalier::kernels::warp {

constexpr int kLanes = 32;

struct Block {
  int x, y, z;
};

/// Four floats, read and written with one 16-byte access; the address must be a multiple of 16.
struct alignas(16) Float4 {
  float v[4];
};
struct alignas(16) Word4 {
  uint32_t v[4];
};
struct alignas(8) Word2 {
  uint32_t v[2];
};

/// One lane's registers of D += A B, where A is 16 x depth (row-major), B depth x 8, D 16 x 8. With
/// group = lane / 4 and t = lane % 4, a 32-bit word holding 1 (tf32), 2 (bf16) or 4 (8-bit) elements and
/// w the number of a word within a row:
///   A: a[0] row group, word t; a[1] row group + 8, word t; a[2] row group, word t + 4; a[3] row group + 8,
///      word t + 4;  B: b[0] column group, word t; b[1] column group, word t + 4
///   D: d[0], d[1] row group, columns 2t, 2t + 1; d[2], d[3] row group + 8
/// (PTX ISA 9, matrix fragments of mma.m16n8k8, m16n8k16 and m16n8k32.)
template <class Sum>
struct Fragments {
  Sum* d;
  const uint32_t *a, *b;
};

#ifndef __CUDACC__

/// The machine as the emulator plays it; see tests/support/emulator.h.
namespace emulation {
int thread();
Block block();
unsigned char* shared();
void barrier();
void copy_async(void* to, const void* from, int bytes, bool valid);
void commit_copies();
void wait_copies(int left);
/// Waits for the warp, then one lane runs `all` over what every lane brought.
void collective(void* mine, void (*all)(void* const* lanes));
void multiply_tf32(void* const* lanes);
void multiply_bf16(void* const* lanes);
void multiply_s8(void* const* lanes);
void multiply_u8(void* const* lanes);
void exchange(void* const* lanes);
uint32_t add_count(uint32_t* p, uint32_t v);
void raise(uint32_t* p, uint32_t v);
/// One access of so many bytes, which must be aligned to them.
void load(void* to, const void* p, int bytes);
void store(void* p, const void* from, int bytes);
template <class Value>
Value load(const void* p) {
  Value v;
  load(&v, p, sizeof v);
  return v;
}
struct Exchange {
  uint32_t value, result;
  int from;
};
}  // namespace emulation

#endif

ESPALIER_SIMT int thread() {
#ifdef __CUDACC__
  return static_cast<int>(threadIdx.x);
#else
  return emulation::thread();
#endif
}

ESPALIER_SIMT Block block() {
#ifdef __CUDACC__
  return {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
#else
  return emulation::block();
#endif
}

/// The block's dynamic shared memory, a multiple of 16 bytes.
ESPALIER_SIMT unsigned char* shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char memory[];
  return memory;
#else
  return emulation::shared();
#endif
}

ESPALIER_SIMT void barrier() {
#ifdef __CUDACC__
  __syncthreads();
#else
  emulation::barrier();
#endif
}

/// *p += v, and *p = max(*p, v), whoever else does the same; counts come out alike in any order. The first
/// returns what was there before.
ESPALIER_SIMT uint32_t add_count(uint32_t* p, uint32_t v) {
#ifdef __CUDACC__
  return atomicAdd(p, v);
#else
  return emulation::add_count(p, v);
#endif
}
ESPALIER_SIMT void raise(uint32_t* p, uint32_t v) {
#ifdef __CUDACC__
  atomicMax(p, v);
#else
  emulation::raise(p, v);
#endif
}

/// Starts to copy 4, 8 or 16 bytes to shared memory, zeros where not valid; `from` must be a readable address
/// either way.
template <int kBytes>
ESPALIER_SIMT void copy_async(void* to, const void* from, bool valid) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
#ifdef __CUDACC__
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = valid ? kBytes : 0;
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(at), "l"(from), "r"(bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;\n" ::"r"(at), "l"(from), "r"(bytes),
                 "n"(kBytes)
                 : "memory");
#else
  emulation::copy_async(to, from, kBytes, valid);
#endif
}

/// Ends a group of copies.
ESPALIER_SIMT void commit_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#else
  emulation::commit_copies();
#endif
}

/// Waits until at most kLeft of this thread's groups are on their way.
template <int kLeft>
ESPALIER_SIMT void wait_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kLeft) : "memory");
#else
  emulation::wait_copies(kLeft);
#endif
}

ESPALIER_SIMT uint32_t bits_of(float f) {
#ifdef __CUDACC__
  return __float_as_uint(f);
#else
  uint32_t bits;
  std::memcpy(&bits, &f, sizeof bits);
  return bits;
#endif
}
ESPALIER_SIMT float float_of(uint32_t bits) {
#ifdef __CUDACC__
  return __uint_as_float(bits);
#else
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
#endif
}

/// The value of lane ^ mask. All lanes of the warp must come here.
ESPALIER_SIMT float shuffle_xor(float value, int mask) {
#ifdef __CUDACC__
  return __shfl_xor_sync(0xffffffffu, value, mask);
#else
  emulation::Exchange e{bits_of(value), 0, (emulation::thread() % kLanes) ^ mask};
  emulation::collective(&e, emulation::exchange);
  return float_of(e.result);
#endif
}

/// Round to nearest with 10 bits of fraction; NaN stays NaN.
ESPALIER_SIMT uint32_t to_tf32(float f) {
#ifdef __CUDACC__
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(f));
  return rounded;
#else
  const uint32_t bits = bits_of(f);
  return (f - f == 0 ? bits + 0x1000u : bits) & ~0x1fffu;
#endif
}

/// Two bf16, round to nearest even, `low` in the lower half.
ESPALIER_SIMT uint32_t to_bf16_pair(float low, float high) {
#ifdef __CUDACC__
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  const auto round = [](float f) {
    const uint32_t bits = bits_of(f);
    return f != f ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
  };
  return round(low) | round(high) << 16;
#endif
}

/// d += A B on one warp, tf32 elements (depth 8), fp32 sums.
ESPALIER_SIMT void multiply_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  Fragments<float> f{d, a, b};
  emulation::collective(&f, emulation::multiply_tf32);
#endif
}

/// d += A B on one warp, bf16 elements (depth 16), fp32 sums.
ESPALIER_SIMT void multiply_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  Fragments<float> f{d, a, b};
  emulation::collective(&f, emulation::multiply_bf16);
#endif
}

/// d += A B on one warp, A of s8 or u8 and B of s8 (depth 32), exact s32 sums.
template <bool kUnsigned>
ESPALIER_SIMT void multiply_8bit(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  if constexpr (kUnsigned)
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  Fragments<int32_t> f{d, a, b};
  emulation::collective(&f, kUnsigned ? emulation::multiply_u8 : emulation::multiply_s8);
#endif
}

/// Byte i of the result is byte (selector >> 4i & 7) of the eight of a (first) and b.
ESPALIER_SIMT uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
#ifdef __CUDACC__
  return __byte_perm(a, b, selector);
#else
  const uint64_t both = uint64_t{b} << 32 | a;
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i)
    out |= static_cast<uint32_t>(both >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
  return out;
#endif
}

/// sum + the four products of a's bytes, s8 or u8, with b's, s8.
template <bool kUnsigned>
ESPALIER_SIMT int32_t dot4(uint32_t a, uint32_t b, int32_t sum) {
#ifdef __CUDACC__
  int32_t out;
  if constexpr (kUnsigned)
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(sum));
  else
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(sum));
  return out;
#else
  for (int i = 0; i < 4; ++i) {
    const auto byte = static_cast<uint8_t>(a >> (8 * i));
    sum +=
        (kUnsigned ? int32_t{byte} : int32_t{static_cast<int8_t>(byte)}) * static_cast<int8_t>(b >> (8 * i));
  }
  return sum;
#endif
}

ESPALIER_SIMT Float4 load4(const float* p) {
#ifdef __CUDACC__
  const float4 f = *reinterpret_cast<const float4*>(p);
  return {{f.x, f.y, f.z, f.w}};
#else
  return emulation::load<Float4>(p);
#endif
}
ESPALIER_SIMT void store4(float* p, const Float4& f) {
#ifdef __CUDACC__
  *reinterpret_cast<float4*>(p) = make_float4(f.v[0], f.v[1], f.v[2], f.v[3]);
#else
  emulation::store(p, &f, 16);
#endif
}
/// *p with one access; Value is as large as it is aligned.
template <class Value>
ESPALIER_SIMT Value load_whole(const Value* p) {
  static_assert(sizeof(Value) == alignof(Value) && sizeof(Value) <= 16);
#ifdef __CUDACC__
  return *p;
#else
  return emulation::load<Value>(p);
#endif
}
/// Four elements as they lie, for a use that comes later, and what they are.
ESPALIER_SIMT Float4 load_stored(const float* p) { return load4(p); }
ESPALIER_SIMT Word2 load_stored(const Bf16* p) {
#ifdef __CUDACC__
  const uint2 w = *reinterpret_cast<const uint2*>(p);
  return {{w.x, w.y}};
#else
  return emulation::load<Word2>(p);
#endif
}
ESPALIER_SIMT Float4 unpacked(const Float4& f) { return f; }
ESPALIER_SIMT Float4 unpacked(const Word2& w) {
  return {{float_of(w.v[0] << 16), float_of(w.v[0] & 0xffff0000u), float_of(w.v[1] << 16),
           float_of(w.v[1] & 0xffff0000u)}};
}
template <class T>
using Stored4 = decltype(load_stored(static_cast<const T*>(nullptr)));

/// Four bf16, with one 8-byte access; the address must be a multiple of 8.
ESPALIER_SIMT Float4 load4(const Bf16* p) { return unpacked(load_stored(p)); }
ESPALIER_SIMT void store4(Bf16* p, const Float4& f) {
#ifdef __CUDACC__
  *reinterpret_cast<uint2*>(p) = make_uint2(to_bf16_pair(f.v[0], f.v[1]), to_bf16_pair(f.v[2], f.v[3]));
#else
  const Bf16 rounded[] = {f.v[0], f.v[1], f.v[2], f.v[3]};
  emulation::store(p, rounded, 8);
#endif
}
ESPALIER_SIMT Word4 load4(const uint32_t* p) {
#ifdef __CUDACC__
  const uint4 w = *reinterpret_cast<const uint4*>(p);
  return {{w.x, w.y, w.z, w.w}};
#else
  return emulation::load<Word4>(p);
#endif
}
ESPALIER_SIMT void store4(uint32_t* p, const Word4& w) {
#ifdef __CUDACC__
  *reinterpret_cast<uint4*>(p) = make_uint4(w.v[0], w.v[1], w.v[2], w.v[3]);
#else
  emulation::store(p, &w, 16);
#endif
}

/// With one 8-byte access.
ESPALIER_SIMT Word2 load2(const uint32_t* p) {
#ifdef __CUDACC__
  const uint2 w = *reinterpret_cast<const uint2*>(p);
  return {{w.x, w.y}};
#else
  return emulation::load<Word2>(p);
#endif
}

/// Two floats, read and written with one 8-byte access; the address must be a multiple of 8.
struct alignas(8) Float2 {
  float v[2];
};
ESPALIER_SIMT Float2 load2(const float* p) {
#ifdef __CUDACC__
  const float2 f = *reinterpret_cast<const float2*>(p);
  return {{f.x, f.y}};
#else
  return emulation::load<Float2>(p);
#endif
}
ESPALIER_SIMT void store2(float* p, const Float2& f) {
#ifdef __CUDACC__
  *reinterpret_cast<float2*>(p) = make_float2(f.v[0], f.v[1]);
#else
  emulation::store(p, &f, 8);
#endif
}
/// Two bf16, with one 4-byte access; the address must be a multiple of 4.
ESPALIER_SIMT Float2 load2(const Bf16* p) {
#ifdef __CUDACC__
  const uint32_t w = *reinterpret_cast<const uint32_t*>(p);
  return {{float_of(w << 16), float_of(w & 0xffff0000u)}};
#else
  const auto w = emulation::load<uint32_t>(p);
  return {{float_of(w << 16), float_of(w & 0xffff0000u)}};
#endif
}
ESPALIER_SIMT void store2(Bf16* p, const Float2& f) {
#ifdef __CUDACC__
  *reinterpret_cast<uint32_t*>(p) = to_bf16_pair(f.v[0], f.v[1]);
#else
  const Bf16 rounded[] = {f.v[0], f.v[1]};
  emulation::store(p, rounded, 4);
#endif
}

/// The greater and the lesser; NaN where one is NaN.
ESPALIER_SIMT float greater(float a, float b) {
#ifdef __CUDACC__
  float out;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(out) : "f"(a), "f"(b));
  return out;
#else
  return a != a || a > b ? a : b;
#endif
}
ESPALIER_SIMT float lesser(float a, float b) {
#ifdef __CUDACC__
  float out;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(out) : "f"(a), "f"(b));
  return out;
#else
  return a != a || a < b ? a : b;
#endif
}

/// The value, which the compiler neither computes again nor takes apart.
ESPALIER_SIMT int kept(int value) {
#ifdef __CUDACC__
  asm("" : "+r"(value));
#endif
  return value;
}
template <class T>
ESPALIER_SIMT const T* kept(const T* p) {
#ifdef __CUDACC__
  asm("" : "+l"(p));
#endif
  return p;
}

/// Two bf16 as they lie; the address must be a multiple of 4.
ESPALIER_SIMT uint32_t load_pair(const Bf16* p) {
#ifdef __CUDACC__
  return *reinterpret_cast<const uint32_t*>(p);
#else
  return emulation::load<uint32_t>(p);
#endif
}

}  // namespace espalier::kernels::warp
