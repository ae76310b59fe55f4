#pragma once
// How the GPU's dense convolutions round what they multiply. Sums are fp32 in every case. With bf16 trainings
// and sessions also store activations as bf16 (passes/store_bf16.h).

#include <string_view>

namespace espalier::kernels {

enum class Precision : unsigned char {
  kFp32,  ///< products as exact as fp32 ones, each made of three TF32 products
  kTf32,  ///< operands rounded to 10 bits of fraction
  kBf16,  ///< operands rounded to bf16: 7 bits of fraction
};

/// "fp32", "tf32" or "bf16"; fp32 for anything else.
Precision precision_from_name(std::string_view name);
const char* name(Precision precision);

/// What kernels use until the next set_precision(); fp32 at the start.
Precision precision();
void set_precision(Precision precision);

}  // namespace espalier::kernels
