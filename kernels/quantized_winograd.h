#pragma once
// 3x3 convolution of codes without stride by Winograd's minimal filtering F(2x2, 3x3) (winograd.h), in
// integers: 16 multiplications where the sum of products takes 36, and every bit the same.
//
//   4 y = A' [(2 G w 2 G') * (B' x B)] A   for every 2x2 tile of outputs, summed over the input channels
//   before A
//
// Nothing is rounded: 2 G has integers, transformed codes fit words (|2 G w 2 G'| <= 9 * 127, |B' x B| <= 4 *
// 255), and sums may wrap around as long as 4 y does not. It is for products of words; those of bytes are as
// fast without.

#include <cstdint>

#include "kernels/conv_shape.h"
#include "kernels/quantized_conv2d.h"
#include "kernels/team.h"

namespace espalier::kernels {

class PackedCodes;

constexpr int kWinogradPoints = 16;

/// True where the kernels multiply words, the formula holds for the shape, 4 y cannot overflow, and there are
/// so many channels that the transforms are cheap beside the products.
bool quantized_winograd_suits(const ConvShape& shape);

/// u = 2 G w 2 G' of a filter w[3][3] whose taps are `step` apart.
void quantized_winograd_filter(const int8_t* w, int step, int16_t u[kWinogradPoints]);

/// quantized_conv2d_prepared() on filters that are winograd().
void quantized_winograd_prepared(const ConvShape& shape, Code x_code, const PackedCodes& w,
                                 const Requantize& r, Code y_code, const void* x, void* y, const Team& team);

}  // namespace espalier::kernels
