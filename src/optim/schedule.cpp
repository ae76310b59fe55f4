#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace espalier {

namespace {

bool is_share(double x) { return x >= 0 && x <= 1; }

double constant(double, const ScheduleOptions&) { return 1; }
double polynomial(double t, const ScheduleOptions& o) {
  return o.end + (1 - o.end) * std::pow(1 - t, o.power);
}
double cosine(double t, const ScheduleOptions& o) {
  return o.end + (1 - o.end) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

/// Every schedule there is.
struct ScheduleEntry {
  const char* name;
  /// The share of the base rate when t of what follows the warm-up is done; null: it goes by boundaries.
  double (*share)(double t, const ScheduleOptions& options);
};
constexpr ScheduleEntry kSchedules[] = {
    {"constant", constant}, {"piecewise", nullptr}, {"polynomial", polynomial}, {"cosine", cosine}};

const ScheduleEntry* find_schedule(const std::string& name) {
  const auto* at = std::find_if(std::begin(kSchedules), std::end(kSchedules),
                                [&](const ScheduleEntry& entry) { return entry.name == name; });
  return at == std::end(kSchedules) ? nullptr : at;
}

std::string listed(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

const char* words(TimeUnit unit) {
  return unit == TimeUnit::kSteps ? "steps" : unit == TimeUnit::kEpochs ? "epochs" : "of the run";
}

}  // namespace

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const ScheduleEntry& entry : kSchedules) names.emplace_back(entry.name);
  return names;
}

Schedule::Schedule(const ScheduleOptions& options, int64_t steps_per_epoch, int64_t epochs)
    : options_(options), total_(steps_per_epoch * epochs) {
  const ScheduleOptions& o = options_;
  ESPALIER_CHECK(steps_per_epoch > 0 && epochs > 0, "schedule: ", epochs, " epochs of ", steps_per_epoch,
                 " steps; both must be at least 1");
  const ScheduleEntry* entry = find_schedule(o.name);
  ESPALIER_CHECK(entry, "schedule '", o.name, "' is unknown; known are ", listed(schedule_names()));
  share_ = entry->share;
  ESPALIER_CHECK(o.rate > 0 && std::isfinite(o.rate), "schedule: the learning rate is ", o.rate,
                 "; it must be above 0");
  ESPALIER_CHECK(is_share(o.end), "schedule: end is ", o.end, "; it must lie in [0, 1], a share of the rate");
  ESPALIER_CHECK(is_share(o.warmup_start), "schedule: warmup_start is ", o.warmup_start,
                 "; it must lie in [0, 1], a share of the rate");
  const auto steps_of = [&](double time, TimeUnit unit) -> int64_t {
    const double factor = unit == TimeUnit::kSteps    ? 1
                          : unit == TimeUnit::kEpochs ? static_cast<double>(steps_per_epoch)
                                                      : static_cast<double>(total_);
    return std::llround(time * factor);
  };
  ESPALIER_CHECK(o.warmup >= 0 && std::isfinite(o.warmup), "schedule: the warm-up lasts ", o.warmup, " ",
                 words(o.warmup_unit), "; it cannot be negative");
  warmup_ = steps_of(o.warmup, o.warmup_unit);
  const bool in_epochs = o.warmup_unit == TimeUnit::kEpochs;
  ESPALIER_CHECK(warmup_ <= total_ || !in_epochs, "schedule.warmup_epochs is ", o.warmup, " but epochs is ",
                 epochs, "; set schedule.warmup_epochs");
  ESPALIER_CHECK(warmup_ <= total_, "schedule: the warm-up lasts ", warmup_, " steps but the run only ",
                 total_, "; shorten the warm-up or train longer");
  if (o.name == "polynomial")
    ESPALIER_CHECK(o.power >= 0 && std::isfinite(o.power), "schedule: power is ", o.power,
                   "; it cannot be negative");
  if (share_) {
    ESPALIER_CHECK(o.at.empty(), "schedule ", o.name, ": 'at' belongs to piecewise; leave it out");
    return;
  }
  ESPALIER_CHECK(o.gamma > 0 && o.gamma <= 1, "schedule: gamma is ", o.gamma, "; it must lie in (0, 1]");
  for (size_t i = 0; i < o.at.size(); ++i) {
    ESPALIER_CHECK(o.at[i] > 0 && std::isfinite(o.at[i]) && (i == 0 || o.at[i] > o.at[i - 1]),
                   "schedule: boundary ", i, " is at ", o.at[i], " ", words(o.at_unit),
                   "; boundaries must be above 0 and increase");
    // One behind the end is as the reference's default of 30, 60, 90 epochs in a short run: it never comes.
    boundaries_.push_back(steps_of(o.at[i], o.at_unit));
  }
  if (boundaries_.empty()) return;
  ESPALIER_CHECK(warmup_ <= boundaries_[0] || !in_epochs, "schedule.warmup_epochs is ", o.warmup,
                 " but the rate falls first after ",
                 static_cast<double>(boundaries_[0]) / static_cast<double>(steps_per_epoch),
                 " epochs; set schedule.warmup_epochs or schedule.at");
  ESPALIER_CHECK(warmup_ <= boundaries_[0], "schedule: the warm-up lasts ", warmup_,
                 " steps but the rate falls first at step ", boundaries_[0],
                 "; shorten the warm-up or move the first boundary");
}

double Schedule::rate(int64_t step) const {
  const ScheduleOptions& o = options_;
  if (step < warmup_) {
    const double start = o.rate * o.warmup_start;
    return start + (o.rate - start) * static_cast<double>(step) / static_cast<double>(warmup_);
  }
  if (!share_) {
    const auto passed = std::upper_bound(boundaries_.begin(), boundaries_.end(), step) - boundaries_.begin();
    return o.rate * std::pow(o.gamma, static_cast<double>(passed));
  }
  const double left = static_cast<double>(std::max<int64_t>(1, total_ - warmup_));
  const double t = std::min(1.0, static_cast<double>(step - warmup_) / left);
  return o.rate * share_(t, o);
}

}  // namespace espalier
