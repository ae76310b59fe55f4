#pragma once
// The learning rate as a function of the step.

#include <cstdint>
#include <string>
#include <vector>

namespace espalier {

/// What a number of a schedule counts.
enum class TimeUnit { kSteps, kEpochs, kRun };  ///< kRun: shares of the whole run, 0.5 is its middle

std::vector<std::string> schedule_names();

struct ScheduleOptions {
  std::string name = "piecewise";  ///< one of schedule_names()
  double rate = 0.025;             ///< the base learning rate
  std::vector<double> at;          ///< piecewise: where the rate falls, increasing
  TimeUnit at_unit = TimeUnit::kEpochs;
  double gamma = 0.1;  ///< piecewise: by which factor
  double power = 0.9;  ///< polynomial
  double end = 0;      ///< polynomial and cosine: the last value, as a share of the base rate
  double warmup = 0;   ///< linear from warmup_start to the base rate
  TimeUnit warmup_unit = TimeUnit::kEpochs;
  double warmup_start = 0;  ///< as a share of the base rate
  bool operator==(const ScheduleOptions&) const = default;
};

/// In warm-up rate(s) = start + (base - start) * s / warmup. Afterwards, with t the share done of the steps
/// that follow the warm-up:
///   piecewise   base * gamma ^ (boundaries passed; a boundary of b epochs lies at step b * steps_per_epoch)
///   polynomial  base * (end + (1 - end) * (1 - t) ^ power)
///   cosine      base * (end + (1 - end) * (1 + cos(pi t)) / 2)       (Loshchilov and Hutter, 2017)
class Schedule {
 public:
  /// Throws Error for an unknown name, values out of range, boundaries that do not increase, or a warm-up
  /// that reaches past the first boundary or the end. A boundary past the end never comes.
  Schedule(const ScheduleOptions& options, int64_t steps_per_epoch, int64_t epochs);

  double rate(int64_t step) const;  ///< of the update number `step`, counting from 0

 private:
  ScheduleOptions options_;
  double (*share_)(double t, const ScheduleOptions& options) = nullptr;
  int64_t total_, warmup_ = 0;
  std::vector<int64_t> boundaries_;
};

}  // namespace espalier
