#include "tensor/device_choice.h"

#include <charconv>

namespace espalier {

std::optional<DeviceChoice> device_choice(const std::string& text) {
  if (text == "auto") return DeviceChoice{};
  if (text == "cpu") return DeviceChoice{.automatic = false};
  if (text == "cuda") return DeviceChoice{.automatic = false, .device = Device::kCuda};
  if (!text.starts_with("cuda:")) return {};
  DeviceChoice choice{.automatic = false, .device = Device::kCuda};
  const char *first = text.data() + 5, *last = text.data() + text.size();
  const auto [end, error] = std::from_chars(first, last, choice.number);
  if (error != std::errc() || end != last || choice.number < 0) return {};
  return choice;
}

Device take_device(const DeviceChoice& choice) {
  if (choice.automatic) return kernels::cuda_available() ? Device::kCuda : Device::kCpu;
  if (choice.device == Device::kCuda) kernels::use_cuda(choice.number);
  return choice.device;
}

}  // namespace espalier
