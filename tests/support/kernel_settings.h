#pragma once
// Settings of the kernels that a test changes for a while.

#include "kernels/reference_only.h"

namespace espalier::test {

/// Turns the fast paths off while it lives.
class ReferenceKernels {
 public:
  ReferenceKernels() : before_(kernels::reference_only()) { kernels::set_reference_only(true); }
  ~ReferenceKernels() { kernels::set_reference_only(before_); }
  ReferenceKernels(const ReferenceKernels&) = delete;

 private:
  bool before_;
};

}  // namespace espalier::test
