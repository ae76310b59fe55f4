#include "kernels/candidate_results.h"

#include <exception>

#include "kernels/bf16.h"

namespace espalier::kernels {

CandidateResults::CandidateResults(Device device, std::span<const Output> outputs)
    : device_(device), outputs_(outputs.begin(), outputs.end()) {
  for (const Output& output : outputs_) {
    kept_.push_back(output.read ? allocate(device_, bytes_of(output)) : nullptr);
    if (output.read) copy(device_, kept_.back(), device_, output.at, bytes_of(output));
  }
}

CandidateResults::~CandidateResults() {
  try {
    restore();
  } catch (const std::exception&) {  // after a fault every call fails, and what failed first is on its way
  }
  for (size_t i = 0; i < kept_.size(); ++i)
    if (kept_[i]) release(device_, kept_[i], bytes_of(outputs_[i]));
}

size_t CandidateResults::bytes_of(const Output& output) const {
  return static_cast<size_t>(output.elements) * (output.bf16 ? sizeof(Bf16) : sizeof(float));
}

void CandidateResults::restore() const {
  for (size_t i = 0; i < outputs_.size(); ++i)
    if (kept_[i]) copy(device_, outputs_[i].at, device_, kept_[i], bytes_of(outputs_[i]));
}

std::vector<Sketch> CandidateResults::results_of(const Candidate& candidate) const {
  constexpr int kOfNaN = 0xff;  // every byte of it, as float and as bf16
  restore();
  for (const Output& output : outputs_)
    if (!output.read) fill_bytes(device_, output.at, kOfNaN, bytes_of(output));
  candidate.run();
  std::vector<Sketch> results;
  for (const Output& output : outputs_)
    results.push_back(output.bf16 ? sketch(device_, output.elements, static_cast<const Bf16*>(output.at))
                                  : sketch(device_, output.elements, static_cast<const float*>(output.at)));
  return results;
}

Likeness CandidateResults::compare(const Candidate& general, const Candidate& other) const {
  const std::vector<Sketch> want = results_of(general), got = results_of(other);
  Likeness all = Likeness::kAlike;
  for (size_t i = 0; i < want.size(); ++i) {
    const Likeness one = kernels::compare(got[i], want[i]);
    if (one == Likeness::kDifferent) return one;
    if (one == Likeness::kUnknown) all = one;
  }
  return all;
}

}  // namespace espalier::kernels
