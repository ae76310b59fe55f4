#pragma once
// What the emulated card is, read from the environment once; README.md of this folder lists the variables.

#include <cstddef>
#include <cstdint>
#include <string>

#include "support/emulator.h"

namespace espalier::emulated_cuda {

struct Card {
  std::string name;
  int major, minor;
  int shared_memory_of_block;  ///< bytes, what a block may ask for
};

/// When a stream's work is done.
enum class Order {
  kLate,    ///< when it is waited for
  kEarly,   ///< when it is queued
  kCrossed  ///< late in the first stream, early in others
};

struct Settings {
  Card card;
  test::Schedule schedule;  ///< of threads
  Order order;
  size_t memory;  ///< bytes
  uint64_t seed;  ///< of the times that events measure
};

/// Ends the program with one line on standard error where a variable has no such value.
const Settings& settings();

constexpr int kCards = 2;

}  // namespace espalier::emulated_cuda
