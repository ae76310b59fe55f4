#pragma once
// The safetensors container: u64 header length, JSON header, raw little-endian tensors. Files written here
// carry a checksum of everything; files of others are read without one.

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace espalier {

struct Safetensors {
  std::vector<std::pair<std::string, Tensor>> tensors;  ///< in file order
  std::map<std::string, std::string> metadata;          ///< without the checksum
};

/// Writes atomically (io/file.h). Tensors of f32, bf16, s8, u8, s32 on any device.
void save_safetensors(const std::filesystem::path& path, const Safetensors& content);

/// Reads and checks: length, offsets without holes or overlap, types, and the checksum where there is one.
/// Tensors of F64 and F16 become f32, I64 becomes s32 (values must fit). Throws Error naming the file and
/// what is wrong.
Safetensors load_safetensors(const std::filesystem::path& path);

}  // namespace espalier
