#pragma once
// What the emulator watches kernels for: accesses whose result depends on the order of threads, which a GPU
// does not promise. Stricter than compute-sanitizer's racecheck, which looks at shared memory alone.
//
// How it sees them: tests that include the emulator are compiled with -fsanitize=thread, which calls a
// function before every access, and linked without that sanitizer's library; access_check.cpp defines the
// functions. Only a barrier orders two threads of a block and nothing orders two blocks, so that a cell per
// byte, with the last barrier before its last write and reads, is all there is to keep.

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "support/access_profile.h"

namespace espalier::test {

/// Bytes from `begin` to before `end`.
struct Range {
  const void *begin, *end;
};

class AccessCheck {
 public:
  /// Who reads for the tensor cores: no thread in particular.
  static constexpr int kTensorCores = 0xfffd;

  /// `reachable` is what there is beside shared memory; empty: everything.
  void begin_launch(std::vector<Range> reachable = {});
  void begin_block(const unsigned char* shared, int shared_bytes, int threads);
  /// Lets go of what is known of memory that was given back.
  void forget(const Range& memory);
  /// All threads of the block have met.
  void barrier() { ++now_; }
  /// What `thread` wrote to shared memory becomes visible to the tensor cores.
  void publish(int thread) { ++published_[static_cast<size_t>(thread)]; }

  /// `code` is the place in the program, for the message.
  void read(int thread, const void* at, int64_t bytes, const void* code = nullptr);
  void write(int thread, const void* at, int64_t bytes, const void* code = nullptr) {
    store(thread, thread, at, bytes, code);
  }
  /// Reads and writes in one step: in order with others of its kind, not with other accesses.
  void atomic(int thread, const void* at, int64_t bytes) { store(thread, kAtomic, at, bytes, nullptr); }

  /// The first error since begin_launch(), or empty:
  /// - two threads of a block access a byte with no barrier between, one of them writing;
  /// - so do two blocks, barrier or not;
  /// - the tensor cores read shared memory that its writer has not made visible to them;
  /// - an access leaves what is reachable.
  const std::string& error() const { return error_; }

  /// Where the shared memory begins that the address lies in, or null.
  const unsigned char* shared_of(const void* at) const {
    return is_shared(static_cast<const unsigned char*>(at)) ? shared_ : nullptr;
  }

 private:
  /// Of one byte. Moments count barriers and blocks over all launches, so that old ones need no clearing.
  struct Cell {
    uint32_t written, read;
    union {
      uint32_t first_read;    ///< in this launch; of global memory
      uint32_t publications;  ///< that the writer had made when it wrote; of shared memory
    };
    uint16_t writer, reader;
  };
  static constexpr int kAtomic = 0xfffe, kSeveral = 0xffff;
  static constexpr uintptr_t kPage = 4096;

  void expect_reachable(const void* at, int64_t bytes, const void* code);
  bool is_shared(const unsigned char* p) const { return p >= shared_ && p < shared_ + shared_bytes_; }
  Cell* cells_of_page(uintptr_t page);
  template <class Each>
  void for_each_cell(const void* at, int64_t bytes, const Each& each);
  void store(int thread, int writer, const void* at, int64_t bytes, const void* code);
  void fail_read(const Cell& c, int thread, const unsigned char* at, const void* code);
  void fail_write(const Cell& c, int thread, int writer, const unsigned char* at, const void* code);
  void fail(const std::string& what, const unsigned char* at, const void* code);

  std::vector<Range> reachable_;
  uint32_t now_ = 1, block_began_ = 1, launch_began_ = 1;
  const unsigned char* shared_ = nullptr;
  int shared_bytes_ = 0;
  std::vector<Cell> shared_cells_;
  std::vector<uint32_t> published_;  // how often, of a thread
  std::unordered_map<uintptr_t, std::unique_ptr<Cell[]>> pages_;
  uintptr_t last_page_ = 0;
  Cell* last_cells_ = nullptr;
  std::string error_;
};

/// Whose accesses are watched now: a thread of the running kernel while its own code runs, or none. What it
/// keeps on its stack nobody else can reach.
struct Watched {
  AccessCheck* check = nullptr;
  AccessProfile* profile = nullptr;  ///< or none
  int thread = 0;
  const char *stack = nullptr, *stack_end = nullptr;

  bool sees(const void* at) const {
    const auto* p = static_cast<const char*>(at);
    return check && (p < stack || p >= stack_end);
  }
  void read(const void* at, int64_t bytes, const void* code) const;
  void write(const void* at, int64_t bytes, const void* code) const;
};
extern Watched watched;

}  // namespace espalier::test
