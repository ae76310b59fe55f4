// What tells an edited file from the one it was, without reading all of it.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/random.h"
#include "datasets/each_picture.h"
#include "datasets/listing.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

/// A file's size and its two ends. An edit shows there: a PNG ends with the checksum of all its pixels, a
/// JPEG of other pixels has another size. Its times do not count, so that a copied data set stays the same.
/// A file that cannot be read counts as nothing: whoever reads all of it says what is wrong.
uint64_t add_file(uint64_t hash, const fs::path& path) {
  constexpr int64_t kEnd = 4096;
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return hash;
  struct stat about {};
  if (::fstat(file, &about) == 0) {
    const int64_t size = about.st_size;
    hash = fnv1a(&size, sizeof size, hash);
    std::array<char, kEnd> bytes;
    const auto add = [&](int64_t from, int64_t count) {
      const ssize_t got = ::pread(file, bytes.data(), static_cast<size_t>(count), from);
      if (got > 0) hash = fnv1a(bytes.data(), static_cast<size_t>(got), hash);
    };
    add(0, std::min(size, kEnd));
    if (size > kEnd) add(std::max(kEnd, size - kEnd), std::min(kEnd, size - kEnd));
  }
  ::close(file);
  return hash;
}

}  // namespace

void read_contents(Dataset& data) {
  for_each_picture(data.samples.size(), [&](size_t i) {
    Sample& sample = data.samples[i];
    sample.contents = add_file(fnv1a(nullptr, 0), data.root / sample.path);
    if (!sample.mask.empty()) sample.contents = add_file(sample.contents, data.root / sample.mask);
  });
}

}  // namespace espalier
