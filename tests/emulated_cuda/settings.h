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

struct Settings {
  Card card;
  test::Schedule schedule;  ///< of threads
  bool late;                ///< work is done when it is waited for, or when it is queued
  size_t memory;            ///< bytes
  uint64_t seed;            ///< of the times that events measure
};

/// Ends the program with one line on standard error where a variable has no such value.
const Settings& settings();

constexpr int kCards = 2;

}  // namespace espalier::emulated_cuda
