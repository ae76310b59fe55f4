#pragma once
// Whether memory checkers see every tensor's end.

namespace espalier::kernels {

/// True when every tensor has a block of its very size, which goes back to the system with it: a checker
/// (address sanitizer, compute-sanitizer) sees nothing wrong in a read beyond a tensor whose block was rounded
/// up, or of one whose block is kept for reuse. On in a build with ESPALIER_SANITIZE, elsewhere with the
/// environment's ESPALIER_BLOCKS=exact, read once; or the last set_exact_blocks().
bool exact_blocks();

/// Overrides the environment, for tests of how blocks are reused. Blocks may be given back under another
/// setting than they were taken with.
void set_exact_blocks(bool on);

}  // namespace espalier::kernels
