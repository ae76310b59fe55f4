#pragma once
// How far something is: a bar on a terminal, a plain line now and then elsewhere, both on standard error.

#include <chrono>
#include <cstdint>
#include <string>

namespace espalier {

class Progress {
 public:
  /// `title` stands before the bar. Nothing shows until the first update().
  Progress(std::string title, int64_t total);
  /// Removes the bar.
  ~Progress();
  Progress(const Progress&) = delete;

  /// Shows `done` of total and the text behind it; draws at most ten times a second on a terminal, a line
  /// every ten seconds elsewhere.
  void update(int64_t done, const std::string& text = "");
  void set_title(std::string title) { title_ = std::move(title); }

  /// Seconds as "1:02:03" or "2:03".
  static std::string duration(double seconds);

 private:
  std::string title_;
  int64_t total_;
  std::chrono::steady_clock::time_point last_;
  bool shown_ = false;
};

}  // namespace espalier
