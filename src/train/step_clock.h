#pragma once

#include <chrono>
#include <cstdint>
#include <deque>

namespace espalier {

/// Where the time of training goes: the latest steps for what is shown, all of them for the result.
class StepClock {
 public:
  /// One step of `images`, of whose `seconds` it waited `waited` for data.
  void add(int64_t images, double seconds, double waited);

  double seconds_per_step() const;   ///< of the latest steps
  double images_per_second() const;  ///< of the latest steps
  double loader_wait() const;        ///< share of the latest steps' time
  double total_images_per_second() const;
  double total_loader_wait() const;

 private:
  struct Span {
    int64_t images = 0;
    double seconds = 0, waited = 0;
  };
  static constexpr size_t kLatest = 20;
  std::deque<Span> latest_;
  Span recent_, total_;
};

/// Seconds since it was made or restarted.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  void restart() { start_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace espalier
