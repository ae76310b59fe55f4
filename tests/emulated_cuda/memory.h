#pragma once
// The card's memory: pages of the host that nothing but the card's own work may touch. A block ends where its
// pages end, and what was given back is never handed out again, so that an access beyond a block, to a freed
// one, or from the host's code stops the program with a line that says which.

#include <cstddef>

#include "support/access_check.h"

namespace espalier::emulated_cuda {

/// A block of so many bytes, aligned to 16 and filled with NaN; null when there is none left.
void* take_memory(size_t bytes);
/// False where no block begins there.
bool give_back_memory(void* memory);
/// Whether all of these bytes are of one block.
bool is_card_memory(const void* memory, size_t bytes);
size_t memory_in_use();
/// All addresses that the card's memory may have.
test::Range card_addresses();

/// Pinned memory of the host.
void* take_pinned(size_t bytes);
bool give_back_pinned(void* memory);
bool is_pinned(const void* memory, size_t bytes);

/// While one lives the card works; what it touches is closed again at its end.
class CardWorks {
 public:
  CardWorks() = default;
  ~CardWorks();
  void on(const char* work);  ///< names what comes next
  CardWorks(const CardWorks&) = delete;
};

}  // namespace espalier::emulated_cuda
