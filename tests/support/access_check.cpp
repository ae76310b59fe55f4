#include "support/access_check.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <type_traits>
#include <utility>

namespace espalier::test {

Watched watched;

void AccessCheck::begin_launch(std::vector<Range> reachable) {
  reachable_ = std::move(reachable);
  launch_began_ = ++now_;
  error_.clear();
}

void AccessCheck::begin_block(const unsigned char* shared, int shared_bytes, int threads) {
  block_began_ = ++now_;
  shared_ = shared;
  shared_bytes_ = shared_bytes;
  if (shared_cells_.size() < static_cast<size_t>(shared_bytes))
    shared_cells_.resize(static_cast<size_t>(shared_bytes));
  published_.assign(static_cast<size_t>(threads), 0);
}

void AccessCheck::forget(const Range& memory) {
  const auto begin = reinterpret_cast<uintptr_t>(memory.begin), end = reinterpret_cast<uintptr_t>(memory.end);
  for (uintptr_t page = begin / kPage; page * kPage < end; ++page) pages_.erase(page);
  last_cells_ = nullptr;
}

AccessCheck::Cell* AccessCheck::cells_of_page(uintptr_t page) {
  if (page != last_page_ || !last_cells_) {
    auto& cells = pages_[page];
    if (!cells) cells = std::make_unique<Cell[]>(kPage);
    last_page_ = page;
    last_cells_ = cells.get();
  }
  return last_cells_;
}

/// each(cell, address, integral_constant: is it of shared memory)
template <class Each>
void AccessCheck::for_each_cell(const void* at, int64_t bytes, const Each& each) {
  const auto* p = static_cast<const unsigned char*>(at);
  if (is_shared(p)) {
    Cell* cells = &shared_cells_[static_cast<size_t>(p - shared_)];
    const int64_t inside = std::min<int64_t>(bytes, shared_ + shared_bytes_ - p);
    for (int64_t i = 0; i < inside; ++i) each(cells[i], p + i, std::true_type());
    return;
  }
  while (bytes > 0) {
    const auto address = reinterpret_cast<uintptr_t>(p);
    Cell* cells = cells_of_page(address / kPage) + address % kPage;
    const int64_t inside = std::min<int64_t>(bytes, static_cast<int64_t>(kPage - address % kPage));
    for (int64_t i = 0; i < inside; ++i) each(cells[i], p + i, std::false_type());
    p += inside;
    bytes -= inside;
  }
}

void AccessCheck::expect_reachable(const void* at, int64_t bytes, const void* code) {
  const auto* p = static_cast<const unsigned char*>(at);
  if (reachable_.empty() || is_shared(p)) return;
  for (const Range& r : reachable_)
    if (p >= r.begin && p + bytes <= r.end) return;
  fail("no memory of the card", p, code);
}

void AccessCheck::read(int thread, const void* at, int64_t bytes, const void* code) {
  expect_reachable(at, bytes, code);
  for_each_cell(at, bytes, [&](Cell& c, const unsigned char* p, auto shared) {
    const uint32_t since = shared ? block_began_ : launch_began_;
    if (c.written >= since && (c.written < block_began_ || (c.written == now_ && c.writer != thread) ||
                               (shared && thread == kTensorCores && c.publications == published_[c.writer])))
      fail_read(c, thread, p, code);
    if (!shared && c.read < since) c.first_read = now_;
    c.reader = static_cast<uint16_t>(c.read == now_ && c.reader != thread ? kSeveral : thread);
    c.read = now_;
  });
}

void AccessCheck::store(int thread, int writer, const void* at, int64_t bytes, const void* code) {
  expect_reachable(at, bytes, code);
  for_each_cell(at, bytes, [&](Cell& c, const unsigned char* p, auto shared) {
    const uint32_t since = shared ? block_began_ : launch_began_;
    const bool in_order = writer == kAtomic && c.writer == kAtomic;
    if ((c.written >= since && !in_order &&
         (c.written < block_began_ || (c.written == now_ && c.writer != writer))) ||
        (c.read >= since &&
         ((!shared && c.first_read < block_began_) || (c.read == now_ && c.reader != thread))))
      fail_write(c, thread, writer, p, code);
    c.written = now_;
    c.writer = static_cast<uint16_t>(writer);
    if (shared) c.publications = published_[static_cast<size_t>(thread)];
  });
}

namespace {

std::string name_of(int thread) {
  if (thread == AccessCheck::kTensorCores) return "the tensor cores";
  return thread < AccessCheck::kTensorCores ? fmt::format("thread {}", thread) : "other threads";
}

}  // namespace

void AccessCheck::fail_read(const Cell& c, int thread, const unsigned char* at, const void* code) {
  if (c.written < block_began_)
    fail("written by one block and read by another", at, code);
  else if (c.written == now_ && c.writer != thread)
    fail(fmt::format("written by {} and read by {} with no barrier between", name_of(c.writer),
                     name_of(thread)),
         at, code);
  else
    fail(fmt::format("read by the tensor cores, to which thread {} has not published it", c.writer), at,
         code);
}

void AccessCheck::fail_write(const Cell& c, int thread, int writer, const unsigned char* at,
                             const void* code) {
  if (c.read == now_ && c.reader != thread)
    fail(fmt::format("read by {} and written by {} with no barrier between", name_of(c.reader),
                     name_of(thread)),
         at, code);
  else if (c.written == now_ && c.writer != writer)
    fail(fmt::format("written by {} and by {} with no barrier between", name_of(c.writer), name_of(thread)),
         at, code);
  else
    fail("accessed by one block and written by another", at, code);
}

void AccessCheck::fail(const std::string& what, const unsigned char* at, const void* code) {
  if (!error_.empty()) return;
  error_ = (is_shared(at) ? fmt::format("byte {} of shared memory is ", at - shared_)
                          : fmt::format("address {} is ", static_cast<const void*>(at))) +
           what;
  const std::string place = place_in_program(code);
  if (!place.empty()) error_ += " (addr2line -Cife " + place + ")";
}

void Watched::read(const void* at, int64_t bytes, const void* code) const {
  check->read(thread, at, bytes, code);
  if (profile) profile->access(thread, at, bytes, check->shared_of(at), code);
}
void Watched::write(const void* at, int64_t bytes, const void* code) const {
  check->write(thread, at, bytes, code);
  if (profile) profile->access(thread, at, bytes, check->shared_of(at), code);
}

}  // namespace espalier::test

// --- what -fsanitize=thread calls ---

namespace {

using espalier::test::watched;

void on_read(const void* at, int64_t bytes, const void* code) {
  if (watched.sees(at)) watched.read(at, bytes, code);
}
void on_write(const void* at, int64_t bytes, const void* code) {
  if (watched.sees(at)) watched.write(at, bytes, code);
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the compiler's names
extern "C" {

#define ESPALIER_ACCESSES(bytes)                                                       \
  void __tsan_read##bytes(void* p) { on_read(p, bytes, __builtin_return_address(0)); } \
  void __tsan_write##bytes(void* p) { on_write(p, bytes, __builtin_return_address(0)); }
ESPALIER_ACCESSES(1)
ESPALIER_ACCESSES(2)
ESPALIER_ACCESSES(4)
ESPALIER_ACCESSES(8)
ESPALIER_ACCESSES(16)
#undef ESPALIER_ACCESSES
void __tsan_read_range(void* p, int64_t bytes) { on_read(p, bytes, __builtin_return_address(0)); }
void __tsan_write_range(void* p, int64_t bytes) { on_write(p, bytes, __builtin_return_address(0)); }

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

// Kernels have warp.h's words for atomic accesses; these are of the code around them.
#define ESPALIER_ATOMICS(bits)                                                                            \
  uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* p, int) {                      \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                       \
  void __tsan_atomic##bits##_store(volatile uint##bits##_t* p, uint##bits##_t v, int) {                   \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                             \
  }                                                                                                       \
  uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t* p, uint##bits##_t v, int) {      \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                       \
  uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile uint##bits##_t* p, uint##bits##_t v, int) {     \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                    \
  }                                                                                                       \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t* p, uint##bits##_t* expected, \
                                                    uint##bits##_t v, int, int) {                         \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);        \
  }
ESPALIER_ATOMICS(8)
ESPALIER_ATOMICS(32)
ESPALIER_ATOMICS(64)
#undef ESPALIER_ATOMICS
}
// NOLINTEND(bugprone-reserved-identifier)
