#pragma once
// Shapes on both sides of every fast path's condition, for the dense and the depthwise convolution.

#include "base/error.h"
#include "kernels/conv_shape.h"

namespace espalier::test {

/// K is the output channels of the dense convolution; the depthwise one takes C.
constexpr kernels::ConvShape kConvCases[] = {
    {2, 5, 6, 3, 4, 1, 1, 1, {}},                 // pointwise
    {6, 9, 11, 37, 53, 1, 1, 1, {}},              // pointwise, channels fill no whole vector
    {4, 12, 11, 64, 96, 1, 1, 1, {}},             // pointwise, whole vectors
    {1, 40, 41, 40, 24, 1, 1, 1, {}},             // pointwise, several blocks of pixels
    {2, 7, 6, 5, 7, 1, 1, 2, {}},                 // pointwise that skips pixels, whose gradient is 0
    {2, 5, 6, 4, 5, 1, 1, 1, {1, 0, 0, 2}},       // pointwise with padding
    {2, 5, 6, 3, 4, 3, 3, 1, {1, 1, 1, 1}},       // same padding
    {3, 5, 6, 37, 2, 3, 3, 1, {1, 1, 1, 1}},      // channels fill no whole tile, on either device
    {2, 9, 14, 48, 33, 3, 3, 1, {1, 1, 1, 1}},    // whole vectors in, none out
    {3, 33, 29, 3, 32, 3, 3, 2, {1, 1, 1, 1}},    // a network's first layer
    {4, 32, 30, 3, 16, 3, 3, 2, {0, 0, 1, 1}},    // the same, padded as TensorFlow does
    {2, 7, 6, 37, 3, 3, 3, 2, {1, 1, 1, 1}},      // stride leaves a remainder in w only
    {2, 8, 8, 32, 8, 3, 3, 2, {0, 0, 1, 1}},      // stride 2, padded at the ends only
    {1, 4, 4, 17, 1, 3, 3, 3, {}},                // stride skips inputs, whose gradient is 0
    {2, 3, 2, 20, 5, 3, 3, 1, {1, 1, 1, 1}},      // narrower than the filter
    {2, 1, 1, 19, 4, 3, 3, 1, {1, 1, 1, 1}},      // one pixel
    {2, 9, 8, 6, 5, 5, 3, 1, {2, 0, 1, 3}},       // unequal extents and padding
    {1, 9, 10, 35, 6, 5, 5, 2, {2, 2, 2, 2}},     // a larger filter
    {2, 6, 7, 18, 3, 2, 4, 1, {4, 5, 3, 6}},      // padding wider than the filter
    {1, 31, 33, 16, 4, 3, 3, 1, {1, 1, 1, 1}},    // wider than a tile of pixels
    {2, 23, 25, 70, 45, 3, 3, 1, {1, 1, 1, 1}},   // filters and channels for several jobs, with tails
    {1, 37, 31, 16, 19, 3, 5, 1, {0, 1, 2, 3}},   // the same, padded unevenly
    {2, 33, 30, 64, 96, 3, 3, 1, {1, 1, 1, 1}},   // Winograd's tiles, whole vectors
    {5, 14, 15, 40, 57, 3, 3, 1, {0, 1, 2, 0}},   // the same with tails and uneven padding
    {1, 40, 29, 33, 130, 3, 3, 1, {2, 2, 0, 1}},  // the same with several jobs, padding as wide as it may be
    {70, 1, 1, 48, 37, 1, 1, 1, {}},              // tiles and channels for Winograd, but pointwise
    {5, 30, 31, 36, 48, 3, 3, 2, {1, 1, 1, 1}},   // the same with a stride
    {8, 13, 14, 37, 40, 5, 5, 1, {2, 2, 2, 2}},   // the same with a larger filter
    {8, 16, 17, 33, 36, 1, 1, 2, {}},             // the same, pointwise that skips pixels
};

inline std::string describe(const kernels::ConvShape& s) {
  return str(s.N, 'x', s.H, 'x', s.W, 'x', s.C, " k", s.K, " filter ", s.R, 'x', s.S, " stride ", s.stride,
             " pad ", s.pad.top, ',', s.pad.left, ',', s.pad.bottom, ',', s.pad.right);
}

}  // namespace espalier::test
