#include "kernels/quantized_hopper.h"

#include "kernels/cuda_launch.h"
#include "kernels/card.h"
#include "kernels/quantized_groups.h"

namespace espalier::kernels::cuda {

bool quantized_groups(const ConvShape& s, Code x_code, const void* x, const int8_t* w, const Requantize& r,
                      Code y_code, void* y) {
  if (!tiles::suits_quantized_groups(s) || !is_hopper()) return false;
  Machine machine;
  const tiles::GroupWidth width = tiles::usual_width(int64_t{s.N} * s.P() * s.Q(), s.K);
  if (x_code == Code::kU8)
    tiles::quantized_groups<true>(machine, width, s, x, w, r, y_code, y);
  else
    tiles::quantized_groups<false>(machine, width, s, x, w, r, y_code, y);
  return true;
}

}  // namespace espalier::kernels::cuda
