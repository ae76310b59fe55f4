#pragma once
// Settings of the kernels that a test changes for a while.

#include "kernels/device.h"
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

/// Runs with this many threads while it lives.
class Threads {
 public:
  explicit Threads(int count) : before_(kernels::threads()) { kernels::set_threads(count); }
  ~Threads() { kernels::set_threads(before_); }
  Threads(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace espalier::test
