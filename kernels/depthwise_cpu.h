#pragma once
// Fast depthwise convolutions of the CPU, with the formulas of depthwise.h. Each returns false, having done
// nothing, for a problem it has no code for.

#include "kernels/depthwise.h"

namespace espalier::kernels::cpu {

bool depthwise_forward(const ConvShape& shape, const float* x, const float* w, const Epilogue& epilogue,
                       float* y);
bool depthwise_backward_x(const ConvShape& shape, const float* dy, const float* w, float* dx);
bool depthwise_backward_w(const ConvShape& shape, const float* x, const float* dy, float* dw);

}  // namespace espalier::kernels::cpu
