#pragma once
// Hopper's tensor cores: four warps multiply matrices that lie in shared memory, while they do other things.
// The emulator plays them too, before the copies of other threads or after them. See warp.h.

#include "kernels/warp.h"

namespace espalier::kernels::warp {

constexpr int kGroupThreads = 128;

/// Rows of an operand in shared memory: 128 bytes each, the terms of a sum side by side. Unit u of 16 bytes
/// of row i lies where u ^ i % 8 says, so that eight rows' units of one place hit all banks; eight rows begin
/// at a multiple of 1024 bytes. (PTX ISA 9, wgmma: shared memory layout, 128-byte swizzle, K-major.)
constexpr int kGroupRowBytes = 128, kGroupAlignment = 1024;
ESPALIER_SIMT int group_place(int row, int unit) { return row * kGroupRowBytes + ((unit ^ (row & 7)) << 4); }

/// What one instruction multiplies. Turned: a row of shared memory is not a row of the operand but 64 places
/// side by side of one term of the sums; the next 64 places lie kGroupBlockBytes on (M-major and N-major).
enum class GroupType { kBf16, kTurnedBf16, kS8, kU8 };
/// Bytes that one instruction goes on: 16 bf16 or 32 codes of each row; turned, 16 rows.
constexpr int kGroupStep = 32, kTurnedGroupStep = 16 * kGroupRowBytes;
/// Turned operands come in blocks of 64 rows.
constexpr int kGroupBlockBytes = 64 * kGroupRowBytes;

#ifndef __CUDACC__
namespace emulation {
/// One thread's share of a multiplication; d are its sums.
struct GroupProduct {
  void* d;
  const unsigned char *a, *b;
  int first;    ///< byte
  int columns;  ///< rows of b
  bool more;
  GroupType type;
};
void group_multiply(const GroupProduct& mine);
void group_commit();
void group_wait(int left);
void publish();
}  // namespace emulation
#endif

#ifdef __CUDACC__
// Only code for sm_90a has the instructions; a launch on another card is refused before it comes here.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ESPALIER_GROUP_ASM(...) asm volatile(__VA_ARGS__)
#else
#define ESPALIER_GROUP_ASM(...) __trap()
#endif

/// The matrix descriptor of rows from byte `first` on, in units of 16 bytes: address, from one turned block
/// to the next, from eight rows to the next eight, and the 128-byte swizzle.
ESPALIER_SIMT uint64_t group_descriptor(const void* rows, int first) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(rows)) + static_cast<uint32_t>(first);
  return uint64_t{(at & 0x3ffff) >> 4} | uint64_t{kGroupBlockBytes >> 4} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}

#define ESPALIER_SUMS_64                                                                            \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25," \
  "%26,%27,%28,%29,%30,%31}"
#define ESPALIER_SUMS_128                                                                           \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25," \
  "%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,"    \
  "%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}"
#define ESPALIER_SUMS_192                                                                        \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,"  \
  "%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,%65,%66,%67,%68,%69,%70," \
  "%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93," \
  "%94,%95}"
#define ESPALIER_SUMS_256                                                                           \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25," \
  "%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,"    \
  "%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,%65,%66,%67,%68,%69,%70,%71,"    \
  "%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,"    \
  "%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114," \
  "%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}"

#define ESPALIER_EIGHT(c, i) \
  c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]), c(d[i + 7])
#define ESPALIER_32(c, i) \
  ESPALIER_EIGHT(c, i), ESPALIER_EIGHT(c, i + 8), ESPALIER_EIGHT(c, i + 16), ESPALIER_EIGHT(c, i + 24)
#define ESPALIER_LIST_64(c) ESPALIER_32(c, 0)
#define ESPALIER_LIST_128(c) ESPALIER_32(c, 0), ESPALIER_32(c, 32)
#define ESPALIER_LIST_192(c) ESPALIER_32(c, 0), ESPALIER_32(c, 32), ESPALIER_32(c, 64)
#define ESPALIER_LIST_256(c) ESPALIER_32(c, 0), ESPALIER_32(c, 32), ESPALIER_32(c, 64), ESPALIER_32(c, 96)

// A product of 64 rows with N columns; `a` and `b` number the operands behind the sums.
#define ESPALIER_GROUP_BF16(N, a, b, one, turned)                                                  \
  ESPALIER_GROUP_ASM("{.reg .pred p; setp.ne.b32 p, %" one                                         \
                     ", 0;\n"                                                                      \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 " ESPALIER_SUMS_##N \
                     ", %" a ", %" b ", p, 1, 1, " turned ";}\n"                                   \
                     : ESPALIER_LIST_##N("+f")                                                     \
                     : "l"(left), "l"(right), "r"(static_cast<int>(more)))
#define ESPALIER_GROUP_CODES(N, type, a, b, one)                                                     \
  ESPALIER_GROUP_ASM("{.reg .pred p; setp.ne.b32 p, %" one                                           \
                     ", 0;\n"                                                                        \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k32.s32." type ".s8 " ESPALIER_SUMS_##N \
                     ", %" a ", %" b ", p;}\n"                                                       \
                     : ESPALIER_LIST_##N("+r")                                                       \
                     : "l"(left), "l"(right), "r"(static_cast<int>(more)))
#endif  // __CUDACC__

/// d = A B^T, or d += A B^T where `more`, of four warps, from byte `first` of the rows (of the operand) on:
/// 64 rows of A, kColumns of B. It reads shared memory, and writes d, at any time until wait_products(). Warp
/// w and a lane's group = lane / 4, t = lane % 4 have, for every 8 columns j: d[4j], d[4j+1]: row 16w +
/// group, columns 8j + 2t, 8j + 2t + 1; d[4j+2], d[4j+3]: row 16w + group + 8.
template <GroupType kType, int kColumns, class Sum>
ESPALIER_SIMT void group_multiply(Sum (&d)[kColumns / 2], const void* a, const void* b, int first,
                                  bool more) {
#ifdef __CUDACC__
  const uint64_t left = group_descriptor(a, first), right = group_descriptor(b, first);
  if constexpr (kType == GroupType::kBf16) {
    if constexpr (kColumns == 64)
      ESPALIER_GROUP_BF16(64, "32", "33", "34", "0, 0");
    else if constexpr (kColumns == 128)
      ESPALIER_GROUP_BF16(128, "64", "65", "66", "0, 0");
    else
      ESPALIER_GROUP_BF16(256, "128", "129", "130", "0, 0");
  } else if constexpr (kType == GroupType::kTurnedBf16) {
    static_assert(kColumns == 128 || kColumns == 192, "the widths that a kernel asks for");
    if constexpr (kColumns == 128)
      ESPALIER_GROUP_BF16(128, "64", "65", "66", "1, 1");
    else
      ESPALIER_GROUP_BF16(192, "96", "97", "98", "1, 1");
  } else if constexpr (kType == GroupType::kS8) {
    if constexpr (kColumns == 64)
      ESPALIER_GROUP_CODES(64, "s8", "32", "33", "34");
    else if constexpr (kColumns == 128)
      ESPALIER_GROUP_CODES(128, "s8", "64", "65", "66");
    else
      ESPALIER_GROUP_CODES(256, "s8", "128", "129", "130");
  } else {
    if constexpr (kColumns == 64)
      ESPALIER_GROUP_CODES(64, "u8", "32", "33", "34");
    else if constexpr (kColumns == 128)
      ESPALIER_GROUP_CODES(128, "u8", "64", "65", "66");
    else
      ESPALIER_GROUP_CODES(256, "u8", "128", "129", "130");
  }
#else
  emulation::group_multiply({d, static_cast<const unsigned char*>(a), static_cast<const unsigned char*>(b),
                             first, kColumns, more, kType});
#endif
}

#ifdef __CUDACC__
#undef ESPALIER_GROUP_BF16
#undef ESPALIER_GROUP_CODES
#undef ESPALIER_SUMS_64
#undef ESPALIER_SUMS_128
#undef ESPALIER_SUMS_192
#undef ESPALIER_SUMS_256
#undef ESPALIER_LIST_64
#undef ESPALIER_LIST_128
#undef ESPALIER_LIST_192
#undef ESPALIER_LIST_256
#undef ESPALIER_32
#undef ESPALIER_EIGHT
#endif

/// Before a batch of products.
ESPALIER_SIMT void begin_products() {
#ifdef __CUDACC__
  ESPALIER_GROUP_ASM("wgmma.fence.sync.aligned;\n" ::: "memory");
#endif
}

/// Ends a batch of products.
ESPALIER_SIMT void commit_products() {
#ifdef __CUDACC__
  ESPALIER_GROUP_ASM("wgmma.commit_group.sync.aligned;\n" ::: "memory");
#else
  emulation::group_commit();
#endif
}

/// Waits until at most kLeft batches are on their way.
template <int kLeft>
ESPALIER_SIMT void wait_products() {
#ifdef __CUDACC__
  ESPALIER_GROUP_ASM("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kLeft) : "memory");
#else
  emulation::group_wait(kLeft);
#endif
}

/// Keeps the compiler from reading sums before the wait above it.
template <class Sum, int kCount>
ESPALIER_SIMT void hold(Sum (&d)[kCount]) {
#ifdef __CUDACC__
  ESPALIER_UNROLL
  for (int i = 0; i < kCount; ++i)
    if constexpr (sizeof(Sum) == sizeof(float) && Sum(0.5f) != Sum(0))
      asm volatile("" : "+f"(d[i])::"memory");
    else
      asm volatile("" : "+r"(d[i])::"memory");
#else
  (void)d;
#endif
}

/// Makes what this thread wrote to shared memory, and what arrived there for it, visible to products. Before
/// the barrier that hands it over.
ESPALIER_SIMT void publish_to_products() {
#ifdef __CUDACC__
  ESPALIER_GROUP_ASM("fence.proxy.async.shared::cta;\n" ::: "memory");
#else
  emulation::publish();
#endif
}

/// Starts to copy 16 bytes as copy_async() does, and keeps them in the first cache: for what the same
/// multiprocessor soon reads again.
ESPALIER_SIMT void copy_async_again(void* to, const void* from, bool valid) {
#ifdef __CUDACC__
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;\n" ::"r"(at), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
#else
  emulation::copy_async(to, from, 16, valid);
#endif
}

/// The block's dynamic shared memory from where rows of operands may begin; kGroupAlignment bytes more have
/// to be asked for.
ESPALIER_SIMT unsigned char* aligned_shared() {
  unsigned char* memory = shared();
#ifdef __CUDACC__
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(memory));
  memory += (kGroupAlignment - at % kGroupAlignment) % kGroupAlignment;
#endif
  return memory;
}

}  // namespace espalier::kernels::warp
