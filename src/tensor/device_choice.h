#pragma once
// "auto", "cpu", "cuda" and "cuda:1", as commands and recipes say them.

#include <optional>
#include <string>

#include "kernels/device.h"

namespace espalier {

struct DeviceChoice {
  bool automatic = true;         ///< a GPU that can be used, or else the CPU
  Device device = Device::kCpu;  ///< unless automatic
  int number = 0;                ///< of the GPU
};

/// Nothing for any other text.
std::optional<DeviceChoice> device_choice(const std::string& text);

/// The device that is meant, ready for use. Throws Error, in one line that says why, for a GPU that cannot be
/// used.
Device take_device(const DeviceChoice& choice);

}  // namespace espalier
