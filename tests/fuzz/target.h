#pragma once
// A reader of files that somebody else wrote, as main.cpp and libFuzzer call it.

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace espalier::test {

/// Small valid inputs to start from.
std::vector<std::string> seeds();
/// Reads the input. Error is the right answer to a bad one; whatever else leaves it is a defect.
void read(const std::string& input);

/// Without waiting for the disk, as io/file.h does.
inline void put(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace espalier::test
