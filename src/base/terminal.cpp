#include "base/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <mutex>

namespace espalier::terminal {

namespace {

std::mutex mutex;
std::string current;
constexpr const char* kErase = "\r\x1b[K";

void write_all(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (n <= 0) return;  // nobody listens: no reason to stop working
    done += static_cast<size_t>(n);
  }
}

}  // namespace

bool is_terminal() {
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  return terminal;
}

int width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void write_line(const std::string& line) {
  const std::lock_guard lock(mutex);
  write_all(current.empty() ? line + "\n" : kErase + line + "\n" + current);
}

void show_bar(const std::string& bar) {
  const std::lock_guard lock(mutex);
  if (bar.empty() && current.empty()) return;
  current = bar;
  write_all(kErase + bar);
}

}  // namespace espalier::terminal
