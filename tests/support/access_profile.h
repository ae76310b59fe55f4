#pragma once
// How well the lanes of a warp access memory together: what a GPU's profiler says of a kernel, from the
// emulator.
//
// A warp's request to shared memory goes in passes, in each of which a bank gives one word; to global memory
// in sectors of 32 bytes. Lanes do not run together in the emulator: the k-th access of a lane at a place in
// the program since the last barrier is taken for a part of the warp's k-th request there. That is so where
// the lanes of a warp go the same way.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace espalier::test {

/// What addr2line is asked of a return address: "PROGRAM OFFSET" of the call; empty where nobody knows.
std::string place_in_program(const void* code);

class AccessProfile {
 public:
  struct Counts {
    int64_t requests = 0;  ///< of warps
    int64_t passes = 0;    ///< through shared memory, or sectors of global memory
    int64_t least = 0;     ///< what the same bytes need if they lie well
    double ratio() const { return least ? static_cast<double>(passes) / static_cast<double>(least) : 1; }
    Counts& operator+=(const Counts& other);
  };
  struct Totals {
    Counts shared, global;
  };

  /// `shared` is where the block's shared memory begins, null for global memory.
  void access(int thread, const void* at, int64_t bytes, const void* shared, const void* code);
  /// At barriers, and at a block's end.
  void end_of_requests();

  Totals totals() const;
  /// A line for each place of the program whose requests take more than they need, the dearest first
  /// (addr2line finds it): "file:line: 512 requests to shared memory, 4.00 times the passes".
  std::string report() const;

 private:
  static constexpr int kLanes = 32;
  struct Request {
    int64_t bytes = 0;
    bool shared = false;
    uint32_t lanes = 0;  ///< a bit for each that takes part
    uint64_t at[kLanes] = {};
  };
  struct Place {
    std::vector<Request> requests;
    int made[kLanes] = {};  ///< by each lane
  };
  static Counts counts_of(const Request& r);

  std::map<std::pair<int, const void*>, Place> open_;  ///< by warp and code
  std::map<std::pair<const void*, bool>, Counts> places_;
};

}  // namespace espalier::test
