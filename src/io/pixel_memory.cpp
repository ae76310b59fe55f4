#include "io/pixel_memory.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace espalier {

namespace {

constexpr size_t kLarge = size_t{64} << 10;  // smaller ones are malloc's
constexpr size_t kHeader = 64;               // before the pixels of a large one: how many bytes there are
constexpr size_t kMostKept = size_t{64} << 20;

struct Block {
  size_t bytes;
  void* pixels() { return reinterpret_cast<std::byte*>(this) + kHeader; }
  static Block* of(void* pixels) {
    return reinterpret_cast<Block*>(static_cast<std::byte*>(pixels) - kHeader);
  }
};

thread_local bool ended = false, exact = false;

/// The blocks of one thread, the longest kept first.
struct Kept {
  std::vector<Block*> blocks;
  size_t bytes = 0;

  ~Kept() {
    for (Block* block : blocks) std::free(block);
    ended = true;
  }
  /// The smallest that holds `wanted` without wasting as much again; none: nullptr.
  Block* take(size_t wanted) {
    auto best = blocks.end();
    for (auto it = blocks.begin(); it != blocks.end(); ++it)
      if ((*it)->bytes >= wanted && (*it)->bytes <= 2 * wanted &&
          (best == blocks.end() || (*it)->bytes < (*best)->bytes))
        best = it;
    return best == blocks.end() ? nullptr : remove(best);
  }
  void give(Block* block) {
    blocks.push_back(block);
    bytes += block->bytes;
    while (bytes > kMostKept) std::free(remove(blocks.begin()));
  }
  Block* remove(std::vector<Block*>::iterator it) {
    Block* block = *it;
    blocks.erase(it);
    bytes -= block->bytes;
    return block;
  }
};

Kept& kept() {
  thread_local Kept kept;
  return kept;
}

}  // namespace

void* take_pixels(size_t bytes) {
  if (bytes < kLarge) return ::operator new(bytes);
  Block* block = ended || exact ? nullptr : kept().take(bytes);
  if (!block) {
    block = static_cast<Block*>(std::aligned_alloc(kHeader, (bytes + 2 * kHeader - 1) / kHeader * kHeader));
    if (!block) throw std::bad_alloc();
    block->bytes = bytes;
  }
  return block->pixels();
}

void give_pixels(void* pixels, size_t bytes) {
  if (bytes < kLarge) return ::operator delete(pixels);
  Block* block = Block::of(pixels);
  if (ended)
    std::free(block);
  else
    kept().give(block);
}

ExactPixels::ExactPixels() { exact = true; }
ExactPixels::~ExactPixels() { exact = false; }

}  // namespace espalier
