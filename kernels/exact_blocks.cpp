#include "kernels/exact_blocks.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace espalier::kernels {

namespace {

bool wanted() {
  const char* value = std::getenv("ESPALIER_BLOCKS");
  const std::string_view word = value ? value : "";
  ESPALIER_CHECK(word.empty() || word == "exact", "ESPALIER_BLOCKS is '", word,
                 "'; 'exact' gives every tensor a block of its very size, unset it to reuse blocks");
#ifdef __SANITIZE_ADDRESS__
  return true;
#else
  return word == "exact";
#endif
}

std::atomic<bool>& state() {
  static std::atomic<bool> on{wanted()};
  return on;
}

}  // namespace

bool exact_blocks() { return state().load(std::memory_order_relaxed); }
void set_exact_blocks(bool on) { state().store(on, std::memory_order_relaxed); }

}  // namespace espalier::kernels
