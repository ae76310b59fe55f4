#include "kernels/reference_only.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace espalier::kernels {

namespace {

bool asked_for() {
  const char* value = std::getenv("ESPALIER_KERNELS");
  if (!value || !*value) return false;
  ESPALIER_CHECK(std::string_view(value) == "reference", "ESPALIER_KERNELS is '", value,
                 "'; 'reference' turns all fast paths off, unset it for the fast ones");
  return true;
}

std::atomic<bool>& state() {
  static std::atomic<bool> on{asked_for()};
  return on;
}

}  // namespace

bool reference_only() { return state().load(std::memory_order_relaxed); }
void set_reference_only(bool on) { state().store(on, std::memory_order_relaxed); }

}  // namespace espalier::kernels
