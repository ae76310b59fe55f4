#include "support/emulated_products.h"

#include <cstring>

namespace espalier::test {

namespace {

using kernels::warp::kGroupThreads;
using kernels::warp::kLanes;
using kernels::warp::emulation::GroupProduct;

/// Where element (row, k) of a group's operand lies.
const unsigned char* group_element(const GroupProduct& p, const unsigned char* rows, int row, int k,
                                   int size) {
  using namespace kernels::warp;
  if (p.type != GroupType::kTurnedBf16)
    return rows + group_place(row, (p.first + k * size) / 16) + (p.first + k * size) % 16;
  const int byte = row % 64 * size;
  return rows + row / 64 * kGroupBlockBytes + group_place(p.first / kGroupRowBytes + k, byte / 16) +
         byte % 16;
}

template <class Element, class Sum, class A, class B>
void multiply_group_as(const std::vector<GroupProduct>& lanes, AccessCheck& check, A a_element, B b_element) {
  constexpr int kRows = 64, kDepth = kernels::warp::kGroupStep / static_cast<int>(sizeof(Element));
  const GroupProduct& any = lanes[0];
  std::vector<Sum> a(kRows * kDepth), b(static_cast<size_t>(any.columns) * kDepth);
  const auto read = [&](const unsigned char* rows, int row, int k, auto element) {
    Element e;
    const unsigned char* at = group_element(any, rows, row, k, static_cast<int>(sizeof e));
    check.read(AccessCheck::kTensorCores, at, sizeof e);
    std::memcpy(&e, at, sizeof e);
    return element(e);
  };
  for (int k = 0; k < kDepth; ++k) {
    for (int i = 0; i < kRows; ++i) a[i * kDepth + k] = read(any.a, i, k, a_element);
    for (int j = 0; j < any.columns; ++j) b[j * kDepth + k] = read(any.b, j, k, b_element);
  }
  for (int thread = 0; thread < kGroupThreads; ++thread) {
    auto* d = static_cast<Sum*>(lanes[thread].d);
    const int row = thread / kLanes * 16 + thread % kLanes / 4;
    for (int i = 0; i < any.columns / 2; ++i) {
      const Sum *left = &a[(row + 8 * (i / 2 % 2)) * kDepth],
                *right = &b[(8 * (i / 4) + 2 * (thread % 4) + i % 2) * kDepth];
      if (!any.more) d[i] = 0;
      for (int k = 0; k < kDepth; ++k) d[i] += left[k] * right[k];
    }
  }
}

}  // namespace

void multiply_group(const std::vector<GroupProduct>& lanes, AccessCheck& check) {
  using kernels::warp::GroupType;
  const auto bf16 = [](uint16_t bits) { return kernels::warp::float_of(uint32_t{bits} << 16); };
  const auto u8 = [](uint8_t code) { return int32_t{code}; };
  const auto s8 = [](uint8_t code) { return int32_t{static_cast<int8_t>(code)}; };
  if (lanes[0].type == GroupType::kBf16 || lanes[0].type == GroupType::kTurnedBf16)
    multiply_group_as<uint16_t, float>(lanes, check, bf16, bf16);
  else if (lanes[0].type == GroupType::kU8)
    multiply_group_as<uint8_t, int32_t>(lanes, check, u8, s8);
  else
    multiply_group_as<uint8_t, int32_t>(lanes, check, s8, s8);
}

}  // namespace espalier::test

// --- one warp's, in its registers ---

namespace espalier::kernels::warp::emulation {

void exchange(void* const* lanes) {
  for (int i = 0; i < kLanes; ++i) {
    auto* e = static_cast<Exchange*>(lanes[i]);
    e->result = static_cast<Exchange*>(lanes[e->from])->value;
  }
}

namespace {

/// element(word, i): element i of a 32-bit word. Gathers the whole matrices from the lanes' registers,
/// multiplies, and hands the sums back.
template <int kPerWord, class Sum, class A, class B>
void multiply(void* const* lanes, A a_element, B b_element) {
  constexpr int kDepth = 8 * kPerWord;
  Sum a[16][kDepth], b[kDepth][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& f = *static_cast<Fragments<Sum>*>(lanes[lane]);
    const int group = lane / 4, t = lane % 4;
    for (int i = 0; i < kPerWord; ++i)
      for (int half = 0; half < 2; ++half) {
        const int k = (t + 4 * half) * kPerWord + i;
        a[group][k] = a_element(f.a[2 * half], i);
        a[group + 8][k] = a_element(f.a[2 * half + 1], i);
        b[k][group] = b_element(f.b[half], i);
      }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& f = *static_cast<Fragments<Sum>*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      for (int k = 0; k < kDepth; ++k) f.d[i] += a[row][k] * b[k][column];
    }
  }
}

}  // namespace

void multiply_tf32(void* const* lanes) {
  // The hardware reads the upper 19 bits.
  const auto element = [](uint32_t word, int) { return float_of(word & ~0x1fffu); };
  multiply<1, float>(lanes, element, element);
}
void multiply_bf16(void* const* lanes) {
  const auto element = [](uint32_t word, int i) { return float_of(word >> (16 * i) << 16); };
  multiply<2, float>(lanes, element, element);
}
void multiply_s8(void* const* lanes) {
  const auto element = [](uint32_t word, int i) { return int32_t{static_cast<int8_t>(word >> (8 * i))}; };
  multiply<4, int32_t>(lanes, element, element);
}
void multiply_u8(void* const* lanes) {
  const auto u8 = [](uint32_t word, int i) { return int32_t{static_cast<uint8_t>(word >> (8 * i))}; };
  const auto s8 = [](uint32_t word, int i) { return int32_t{static_cast<int8_t>(word >> (8 * i))}; };
  multiply<4, int32_t>(lanes, u8, s8);
}

}  // namespace espalier::kernels::warp::emulation
