#include "kernels/precision.h"

#include <atomic>

namespace espalier::kernels {

namespace {
std::atomic<Precision> current{Precision::kFp32};
}

Precision precision_from_name(std::string_view name) {
  return name == "tf32" ? Precision::kTf32 : name == "bf16" ? Precision::kBf16 : Precision::kFp32;
}

const char* name(Precision precision) {
  return precision == Precision::kTf32 ? "tf32" : precision == Precision::kBf16 ? "bf16" : "fp32";
}

Precision precision() { return current.load(std::memory_order_relaxed); }
void set_precision(Precision precision) { current.store(precision, std::memory_order_relaxed); }

}  // namespace espalier::kernels
