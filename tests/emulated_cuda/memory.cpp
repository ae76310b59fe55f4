#include "emulated_cuda/memory.h"

#include <spdlog/fmt/fmt.h>
#include <sys/mman.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include "emulated_cuda/settings.h"
#include "kernels/kernel_name.h"
#include "support/emulator.h"

namespace espalier::emulated_cuda {

namespace {

constexpr size_t kPage = 4096, kAlignment = 16, kAddresses = size_t{1} << 41;
constexpr unsigned char kUnwritten = 0xff;

struct Block {
  size_t bytes = 0;
  unsigned char* pages = nullptr;
  size_t page_bytes = 0;
  bool open = false;
};

size_t rounded_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

[[noreturn]] void stop(const std::string& what) {
  fmt::print(stderr, "emulated CUDA: {}\n", what);
  std::fflush(stderr);
  std::abort();
}

/// Changed only while the card does not work; read by the signal's handler while it does.
struct Memory {
  unsigned char *begin = nullptr, *next = nullptr;
  std::map<const unsigned char*, Block> blocks, pinned;  // by where they begin
  size_t in_use = 0;
  std::atomic<const char*> work{nullptr};

  Memory() {
    void* reserved = mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) stop("no addresses for the card's memory");
    begin = next = static_cast<unsigned char*>(reserved);
    struct sigaction action = {};
    action.sa_sigaction = [](int, siginfo_t* about, void*) { on_fault(about->si_addr); };
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, nullptr);
  }

  static Memory& one() {
    static auto* memory = new Memory;  // never destroyed: handlers and late frees come to it
    return *memory;
  }

  bool is_ours(const unsigned char* p) const { return p >= begin && p < begin + kAddresses; }

  /// The block whose pages hold the address, or null.
  Block* block_at(const unsigned char* p) {
    auto at = blocks.upper_bound(p);
    if (at != blocks.end() && p >= at->second.pages)
      return &at->second;  // before the block, in its first page
    if (at == blocks.begin()) return nullptr;
    --at;
    return p < at->second.pages + at->second.page_bytes ? &at->second : nullptr;
  }

  static void on_fault(void* at) {
    Memory& m = one();
    const auto* p = static_cast<const unsigned char*>(at);
    const char* work = m.work.load();
    if (!m.is_ours(p)) {
      std::signal(SIGSEGV, SIG_DFL);  // none of ours: it happens again, to whoever handles it by default
      return;
    }
    Block* block = m.block_at(p);
    if (work && block) {
      mprotect(block->pages, block->page_bytes, PROT_READ | PROT_WRITE);
      std::atomic_ref(block->open) = true;  // several threads may come here at once
      return;
    }
    stop(block ? fmt::format("the host's code accesses the card's memory at {}, of a block of {} bytes",
                             static_cast<const void*>(p), block->bytes)
               : fmt::format("{} accesses {}, which is beyond every block, or of one that was given back",
                             work ? kernels::kernel_name(work) : "the host's code",
                             static_cast<const void*>(p)));
  }
};

/// What lies between a block's end and its page's is as it was.
void check_end(const unsigned char* begin, const Block& b) {
  for (const unsigned char* p = begin + b.bytes; p < b.pages + b.page_bytes; ++p)
    if (*p != kUnwritten) stop(fmt::format("a write beyond a block of {} bytes", b.bytes));
}

bool holds(const std::map<const unsigned char*, Block>& blocks, const void* memory, size_t bytes) {
  const auto* p = static_cast<const unsigned char*>(memory);
  auto after = blocks.upper_bound(p);
  if (after == blocks.begin()) return false;
  --after;
  return p + bytes <= after->first + after->second.bytes;
}

}  // namespace

void* take_memory(size_t bytes) {
  Memory& m = Memory::one();
  const size_t page_bytes = rounded_up(bytes, kPage);
  if (page_bytes > settings().memory - m.in_use) return nullptr;
  if (static_cast<size_t>(m.begin + kAddresses - m.next) < page_bytes + kPage) stop("no addresses left");
  unsigned char* pages = m.next;
  m.next += page_bytes + kPage;  // the page between stays closed
  if (mprotect(pages, page_bytes, PROT_READ | PROT_WRITE) != 0) return nullptr;
  std::memset(pages, kUnwritten, page_bytes);
  unsigned char* begin = pages + page_bytes - rounded_up(bytes, kAlignment);
  mprotect(pages, page_bytes, PROT_NONE);
  m.blocks[begin] = {bytes, pages, page_bytes};
  m.in_use += page_bytes;
  return begin;
}

bool give_back_memory(void* memory) {
  Memory& m = Memory::one();
  const auto found = m.blocks.find(static_cast<unsigned char*>(memory));
  if (found == m.blocks.end()) return false;
  const Block& b = found->second;
  mprotect(b.pages, b.page_bytes, PROT_READ);
  check_end(found->first, b);
  mmap(b.pages, b.page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  test::forget_accesses({b.pages, b.pages + b.page_bytes});
  m.in_use -= b.page_bytes;
  m.blocks.erase(found);
  return true;
}

bool is_card_memory(const void* memory, size_t bytes) { return holds(Memory::one().blocks, memory, bytes); }
test::Range card_addresses() {
  const Memory& m = Memory::one();
  return {m.begin, m.begin + kAddresses};
}
size_t memory_in_use() { return Memory::one().in_use; }

void* take_pinned(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kPage, rounded_up(bytes, kPage)) != 0) return nullptr;
  Memory::one().pinned[static_cast<unsigned char*>(memory)] = {.bytes = bytes};
  return memory;
}

bool give_back_pinned(void* memory) {
  if (!Memory::one().pinned.erase(static_cast<unsigned char*>(memory))) return false;
  std::free(memory);
  return true;
}

bool is_pinned(const void* memory, size_t bytes) { return holds(Memory::one().pinned, memory, bytes); }

void CardWorks::on(const char* work) { Memory::one().work = work; }

CardWorks::~CardWorks() {
  Memory& m = Memory::one();
  m.work = nullptr;
  for (auto& [begin, block] : m.blocks) {
    if (!block.open) continue;
    mprotect(block.pages, block.page_bytes, PROT_NONE);
    block.open = false;
  }
}

}  // namespace espalier::emulated_cuda
