#include "kernels/reference_only.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace espalier::kernels {

namespace {

struct State {
  std::atomic<bool> reference{false}, direct{false};

  State() {
    const char* value = std::getenv("ESPALIER_KERNELS");
    const std::string_view word = value ? value : "";
    reference = word == "reference";
    direct = word == "direct";
    ESPALIER_CHECK(word.empty() || reference || direct, "ESPALIER_KERNELS is '", word,
                   "'; 'reference' turns all fast paths off, 'direct' Winograd's alone, unset it for all");
  }
};

State& state() {
  static State state;
  return state;
}

}  // namespace

bool reference_only() { return state().reference.load(std::memory_order_relaxed); }
void set_reference_only(bool on) { state().reference.store(on, std::memory_order_relaxed); }
bool direct_only() { return state().direct.load(std::memory_order_relaxed); }
void set_direct_only(bool on) { state().direct.store(on, std::memory_order_relaxed); }

}  // namespace espalier::kernels
