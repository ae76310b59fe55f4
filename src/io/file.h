#pragma once
// Files that survive a power cut: written beside the target, flushed to the disk, then renamed over it.

#include <filesystem>
#include <span>
#include <string>

namespace espalier {

/// Replaces `path` with the pieces, one after another. The old file stays until the new one is complete on
/// disk; on any failure it is untouched and Error says what failed (folder missing, not writable, disk full).
void write_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces);
void write_atomically(const std::filesystem::path& path, const std::string& text);

/// The whole file. Throws Error naming the path and the reason.
std::string read_file(const std::filesystem::path& path);

}  // namespace espalier
