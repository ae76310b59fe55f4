#pragma once
// Settings of the kernels that a test changes for a while.

#include "kernels/exact_blocks.h"
#include "kernels/reference_only.h"
#ifdef ESPALIER_HAS_CUDA
#include "kernels/card.h"
#endif

namespace espalier::test {

template <bool (*kGet)(), void (*kSet)(bool), bool kOn>
class Setting {
 public:
  Setting() : before_(kGet()) { kSet(kOn); }
  ~Setting() { kSet(before_); }
  Setting(const Setting&) = delete;

 private:
  bool before_;
};

/// Turns the fast paths off while it lives.
using ReferenceKernels = Setting<kernels::reference_only, kernels::set_reference_only, true>;
/// Keeps freed blocks for reuse, also under a memory checker; or hands each back, also without one.
using ReusedBlocks = Setting<kernels::exact_blocks, kernels::set_exact_blocks, false>;
using ExactBlocks = Setting<kernels::exact_blocks, kernels::set_exact_blocks, true>;

#ifdef ESPALIER_HAS_CUDA
/// Gives the GPU's blocks no more shared memory than those of consumers' cards have while it lives.
class ConsumerCard {
 public:
  ConsumerCard() { kernels::cuda::limit_shared_memory_of_block(99 * 1024); }
  ~ConsumerCard() { kernels::cuda::limit_shared_memory_of_block(kernels::cuda::kWholeCard); }
  ConsumerCard(const ConsumerCard&) = delete;
};
#endif

}  // namespace espalier::test
