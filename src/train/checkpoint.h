#pragma once
// Everything that a run needs to go on as if it had never stopped, in one safetensors file.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "tensor/tensor.h"

namespace espalier {

/// A named set of tensors, in the order in which they are written.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// `progress` is what the training loop knows of itself (step, epoch, best metric, early stop, history);
/// `identity` is what must be the same for a run to go on (recipe, data, structure), by name.
struct Checkpoint {
  NamedTensors parameters;  ///< all of the graph's, running statistics included
  NamedTensors optimizer, ema, best;
  Json progress = Json::object();
  Json identity = Json::object();
  int threads = 0;
  std::string machine;  ///< what else the last digits depend on: "cpu", or the GPU and its precision,
  std::string kernels;  ///< and the kernels that were the fastest there (kernels/kernel_choices.h)
};

/// Writes atomically, with a checksum. The same state gives the same bytes. On failure the file that was
/// there is intact and Error says why.
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

/// Whether an epoch's end is worth a checkpoint: where writing takes long beside an epoch (hundreds of
/// megabytes, an epoch of a fifth of a second on a GPU), a kill may lose some epochs, at most
/// kSecondsWorthSaving times the seconds that the last one took to write. The first, after nothing
/// (`seconds_to_write` 0), is worth it, and so is one that costs next to nothing.
constexpr double kSecondsWorthSaving = 20;
constexpr bool worth_a_checkpoint(double seconds_since_last, double seconds_to_write) {
  constexpr double kNextToNothing = 0.05;
  return seconds_to_write < kNextToNothing || seconds_since_last >= kSecondsWorthSaving * seconds_to_write;
}

/// Throws Error when the file is damaged, of a newer format, or no checkpoint.
Checkpoint load_checkpoint(const std::filesystem::path& path);

/// Throws Error naming the first thing that differs between the checkpoint's identity and this run's.
void check_identity(const std::filesystem::path& path, const Json& saved, const Json& now);

}  // namespace espalier
