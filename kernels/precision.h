#pragma once
// How the GPU's dense convolutions round what they multiply. Sums are fp32 in every case.

namespace espalier::kernels {

enum class Precision : unsigned char {
  kFp32,  ///< products as exact as fp32 ones, each made of three TF32 products
  kTf32,  ///< operands rounded to 10 bits of fraction
  kBf16,  ///< operands rounded to bf16: 7 bits of fraction
};

/// What kernels use until the next set_precision(); fp32 at the start.
Precision precision();
void set_precision(Precision precision);

}  // namespace espalier::kernels
