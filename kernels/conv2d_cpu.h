#pragma once
// Fast dense convolutions of the CPU, with the formulas of conv2d.h. Each returns false, having done nothing,
// for a problem it has no code for.

#include "kernels/conv2d.h"

namespace espalier::kernels::cpu {

bool conv2d_forward(const ConvShape& shape, const float* x, const float* w, const Epilogue& epilogue,
                    float* y);
bool conv2d_backward_x(const ConvShape& shape, const float* dy, const float* w, float* dx);
bool conv2d_backward_w(const ConvShape& shape, const float* x, const float* dy, float* dw);

/// conv2d_backward_w() for windows of more than a pixel without stride, see conv2d_backward_w_cpu.cpp.
bool conv2d_backward_w_tiled(const ConvShape& shape, const float* x, const float* dy, float* dw);

/// The three for 3x3 windows without stride, see winograd.h.
bool conv2d_forward_winograd(const ConvShape& shape, const float* x, const float* w, const Epilogue& epilogue,
                             float* y);
bool conv2d_backward_x_winograd(const ConvShape& shape, const float* dy, const float* w, float* dx);
bool conv2d_backward_w_winograd(const ConvShape& shape, const float* x, const float* dy, float* dw);

}  // namespace espalier::kernels::cpu
