#include "kernels/precision.h"

#include <atomic>

namespace espalier::kernels {

namespace {
std::atomic<Precision> current{Precision::kFp32};
}

Precision precision() { return current.load(std::memory_order_relaxed); }
void set_precision(Precision precision) { current.store(precision, std::memory_order_relaxed); }

}  // namespace espalier::kernels
