#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "emulated_cuda/memory.h"
#include "emulated_cuda/settings.h"
#include "emulated_cuda/stream.h"

extern "C" const char __executable_start, __data_start;  // the linker's

namespace espalier::emulated_cuda {

namespace {

std::map<std::pair<int, const void*>, int>& allowed_shared_memory() {  // of a card and function
  static std::map<std::pair<int, const void*>, int> all;
  return all;
}

/// The card's memory, a launch's parameters, and the program's constants, which lie before its data.
template <class Argument>
std::vector<test::Range> reachable(const Call<Argument>& call) {
  const auto* p = static_cast<const char*>(call.parameters.get());
  return {card_addresses(), {p, p + call.bytes}, {&__executable_start, &__data_start}};
}

}  // namespace

void launch(const Launch& l, cudaStream_t stream, const Call<NoArgument>& call) {
  const Lock lock(mutex());
  constexpr int kMostThreads = 1024, kPlainSharedMemory = 48 * 1024;
  constexpr unsigned kMostBlocks = 65535, kMostBlocksX = 0x7fffffff;
  if (l.threads < 1 || l.threads > kMostThreads || l.grid.x < 1 || l.grid.y < 1 || l.grid.z < 1 ||
      l.grid.x > kMostBlocksX || l.grid.y > kMostBlocks || l.grid.z > kMostBlocks) {
    said(cudaErrorInvalidConfiguration);
    return;
  }
  const auto allowed = allowed_shared_memory().find({current_card(), l.function});
  if (l.shared_bytes >
      std::max(kPlainSharedMemory, allowed == allowed_shared_memory().end() ? 0 : allowed->second)) {
    said(cudaErrorInvalidValue);
    return;
  }
  const test::EmulatedLaunch emulated = {
      .grid = {static_cast<int>(l.grid.x), static_cast<int>(l.grid.y), static_cast<int>(l.grid.z)},
      .threads = l.threads,
      .shared_bytes = l.shared_bytes,
      .reachable = reachable(call)};
  queue(*stream, l.signature, [emulated, call] {
    test::emulate(emulated, settings().schedule, [&] { call.run(call.parameters.get(), {}); });
  });
}

void launch_items(const char* signature, int64_t count, cudaStream_t stream, const Call<int64_t>& call) {
  const Lock lock(mutex());
  queue(*stream, signature, [count, call] {
    test::emulate_items(count, settings().schedule, reachable(call),
                        [&](int64_t item) { call.run(call.parameters.get(), item); });
  });
}

cudaError_t allow_shared_memory(const void* function, int bytes) {
  const Lock lock(mutex());
  if (bytes > settings().card.shared_memory_of_block) return said(cudaErrorInvalidValue);
  allowed_shared_memory()[{current_card(), function}] = bytes;
  return said(cudaSuccess);
}

}  // namespace espalier::emulated_cuda
