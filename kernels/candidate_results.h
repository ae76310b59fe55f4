#pragma once
// What candidates of a problem leave behind, compared before the fastest is trusted.

#include <span>
#include <vector>

#include "kernels/autotuner.h"
#include "kernels/device.h"

namespace espalier::kernels {

/// An array that candidates write.
struct Output {
  void* at;
  int64_t elements;
  bool bf16;          ///< or float
  bool read = false;  ///< they read it as well
};

/// Keeps what lies in outputs that are read, and puts it back at the end.
class CandidateResults {
 public:
  CandidateResults(Device device, std::span<const Output> outputs);
  ~CandidateResults();
  CandidateResults(const CandidateResults&) = delete;

  /// Whether `other` makes of every output what `general` makes of it. Both begin with what was there where
  /// they read it, and with NaN elsewhere: what one does not write shows.
  Likeness compare(const Candidate& general, const Candidate& other) const;

 private:
  size_t bytes_of(const Output& output) const;
  void restore() const;
  std::vector<Sketch> results_of(const Candidate& candidate) const;

  Device device_;
  std::vector<Output> outputs_;
  std::vector<void*> kept_;  ///< null where nothing is
};

}  // namespace espalier::kernels
