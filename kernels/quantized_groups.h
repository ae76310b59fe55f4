#pragma once
// INT8 convolutions on Hopper's tensor cores; exact sums, so the same bits as those of quantized_tiles.h.

#include "kernels/quantized_tiles.h"
#include "kernels/warpgroup_tiles.h"

namespace espalier::kernels::tiles {

/// Whether Hopper's wide tiles pay: smaller problems wait for memory more than they multiply.
inline bool suits_quantized_groups(const ConvShape& s) {
  constexpr int64_t kLeastProducts = int64_t{1} << 26;
  const int64_t products = int64_t{s.N} * s.P() * s.Q() * s.K * s.R * s.S * s.C;
  return takes_groups<int8_t>(forward_gather(s)) && products >= kLeastProducts;
}

template <bool kUnsigned, class Machine>
void quantized_groups(Machine& machine, GroupWidth width, const ConvShape& s, const void* x, const int8_t* w,
                      const Requantize& r, Code code, void* y) {
  const Gather g = forward_gather(s);
  const int64_t rows = int64_t{g.N} * g.P * g.Q, elements = rows * s.K;
  with_width(width, [&](auto n) {
    using Kernel = WarpgroupGemm<GroupCodes<kUnsigned>, n(), CodeOutput>;
    const Parts parts = group_parts<Kernel>(g, s.K);
    int32_t* sums =
        parts.count > 1 ? reinterpret_cast<int32_t*>(machine.scratch(parts.count * elements)) : nullptr;
    launch_groups<Kernel>(machine, g, s.K, x, w, CodeOutput{r, s.K, elements, s.K % 4 == 0, code, y, sums},
                          parts);
    if (sums) machine.for_each_row(rows, s.K, FinishCodes{parts.count, elements, s.K, sums, r, code, y});
  });
}

}  // namespace espalier::kernels::tiles
