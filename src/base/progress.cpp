#include "base/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/terminal.h"

namespace espalier {

namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kLineEvery = std::chrono::seconds(10);
constexpr int kBarWidth = 24;

std::string bar(double share) {
  const int full = static_cast<int>(std::lround(share * kBarWidth));
  std::string text(kBarWidth + 2, '.');
  text.front() = '[';
  text.back() = ']';
  std::fill_n(text.begin() + 1, full, '#');
  return text;
}

}  // namespace

Progress::Progress(std::string title, int64_t total)
    : title_(std::move(title)),
      total_(std::max<int64_t>(1, total)),
      last_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (shown_) terminal::show_bar("");
}

void Progress::update(int64_t done, const std::string& text) {
  const auto now = std::chrono::steady_clock::now();
  const double share = std::clamp(static_cast<double>(done) / static_cast<double>(total_), 0.0, 1.0);
  const std::string count = std::to_string(done) + "/" + std::to_string(total_);
  if (!terminal::is_terminal()) {
    if (now - last_ < kLineEvery) return;
    last_ = now;
    terminal::write_line(title_ + " " + count + (text.empty() ? "" : ", " + text));
    return;
  }
  if (shown_ && now - last_ < kRedraw && done < total_) return;
  last_ = now;
  shown_ = true;
  std::string line = title_ + " " + bar(share) + " " + count + (text.empty() ? "" : "  " + text);
  // A line that wraps could not be erased again.
  const size_t fits = static_cast<size_t>(std::max(1, terminal::width() - 1));
  if (line.size() > fits) line.resize(fits);
  terminal::show_bar(line);
}

std::string Progress::duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const int64_t s = static_cast<int64_t>(std::llround(seconds));
  char text[32];
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%lld:%02d:%02d", static_cast<long long>(s / 3600),
                  static_cast<int>(s / 60 % 60), static_cast<int>(s % 60));
  else
    std::snprintf(text, sizeof text, "%d:%02d", static_cast<int>(s / 60), static_cast<int>(s % 60));
  return text;
}

}  // namespace espalier
