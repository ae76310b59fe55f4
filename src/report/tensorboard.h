#pragma once
// TensorBoard's event files: TFRecord framing around Event messages, written by hand; the few fields used are
// listed in tensorboard.cpp.

#include <cstdint>
#include <filesystem>
#include <string>

namespace espalier {

/// Appends scalars to one new event file in a folder. Every record is flushed to the system, so TensorBoard
/// shows a running training, and a killed one loses nothing.
class TensorBoardWriter {
 public:
  /// Makes the folder. `first_step` above 0 tells TensorBoard to drop what an earlier file has from that step
  /// on. Throws Error when the file cannot be made.
  explicit TensorBoardWriter(const std::filesystem::path& folder, int64_t first_step = 0);
  ~TensorBoardWriter();
  TensorBoardWriter(const TensorBoardWriter&) = delete;

  /// Throws Error when the disk is full.
  void scalar(const std::string& tag, int64_t step, double value);
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const std::string& event);

  std::filesystem::path path_;
  int file_ = -1;
};

/// CRC-32C (Castagnoli) as the TFRecord format masks it.
uint32_t masked_crc32c(const void* data, size_t bytes);

}  // namespace espalier
