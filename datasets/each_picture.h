#pragma once
// A loop over pictures on all cores, which Ctrl-C ends.

#include <tbb/parallel_for.h>

#include <cstddef>

#include "base/interrupt.h"

namespace espalier {

/// look(i) for every i below `count`, several at a time. Throws Interrupted once Ctrl-C was pressed, and what
/// look() throws.
template <class Look>
void for_each_picture(size_t count, const Look& look) {
  tbb::parallel_for(size_t{0}, count, [&](size_t i) {
    if (interrupt_requested())
      throw Interrupted("interrupted while looking at the pictures; the same command continues");
    look(i);
  });
}

}  // namespace espalier
