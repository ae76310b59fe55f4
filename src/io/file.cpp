#include "io/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/error.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

/// Closes the descriptor and removes the temporary file unless all went well.
struct TemporaryFile {
  fs::path path;
  int descriptor = -1;
  bool keep = false;
  ~TemporaryFile() {
    if (descriptor >= 0) ::close(descriptor);
    if (!keep) ::unlink(path.c_str());
  }
};

[[noreturn]] void fail_to_write(const fs::path& path, const char* step) {
  const int code = errno;
  fail(str(path.string(), ": cannot be written (", step, ": ", std::strerror(code), "); ",
           code == ENOSPC || code == EFBIG || code == EDQUOT ? "free space on the disk"
                                                             : "check the folder and its permissions",
           fs::exists(path) ? "; the file that was there is untouched" : ""));
}

}  // namespace

void write_atomically(const fs::path& path, std::span<const std::span<const std::byte>> pieces) {
  // Beside the target: rename() is atomic only within one file system.
  TemporaryFile file{path.string() + str(".tmp", ::getpid())};
  file.descriptor = ::open(file.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file.descriptor < 0) fail_to_write(path, "open");
  for (std::span<const std::byte> piece : pieces)
    while (!piece.empty()) {
      const ssize_t written = ::write(file.descriptor, piece.data(), piece.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail_to_write(path, "write");
      piece = piece.subspan(static_cast<size_t>(written));
    }
  if (::fsync(file.descriptor) != 0) fail_to_write(path, "fsync");
  const int closed = ::close(file.descriptor);
  file.descriptor = -1;
  if (closed != 0) fail_to_write(path, "close");
  if (::rename(file.path.c_str(), path.c_str()) != 0) fail_to_write(path, "rename");
  file.keep = true;
  // The rename itself must reach the disk too.
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (const int d = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); d >= 0) {
    ::fsync(d);
    ::close(d);
  }
}

void write_atomically(const fs::path& path, const std::string& text) {
  const std::array pieces = {std::as_bytes(std::span(text))};
  write_atomically(path, pieces);
}

std::string read_file(const fs::path& path) {
  std::error_code code;
  const auto status = fs::status(path, code);
  ESPALIER_CHECK(fs::exists(status), path.string(), ": there is no such file");
  ESPALIER_CHECK(!fs::is_directory(status), path.string(), ": is a folder, a file was expected");
  ESPALIER_CHECK(fs::is_regular_file(status), path.string(),
                 ": is a pipe or a device, which has no size; copy what it gives into a file");
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  ESPALIER_CHECK(in, path.string(), ": cannot be opened (", std::strerror(errno), ")");
  std::string text(static_cast<size_t>(in.tellg()), '\0');
  in.seekg(0);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  ESPALIER_CHECK(in, path.string(), ": cannot be read to its end");
  return text;
}

}  // namespace espalier
