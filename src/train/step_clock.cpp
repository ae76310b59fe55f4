#include "train/step_clock.h"

namespace espalier {

namespace {

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

}  // namespace

void StepClock::add(int64_t images, double seconds, double waited) {
  latest_.push_back({images, seconds, waited});
  if (latest_.size() > kLatest) latest_.pop_front();
  recent_ = {};
  for (const Span& s : latest_) {
    recent_.images += s.images;
    recent_.seconds += s.seconds;
    recent_.waited += s.waited;
  }
  total_.images += images;
  total_.seconds += seconds;
  total_.waited += waited;
}

double StepClock::seconds_per_step() const {
  return ratio(recent_.seconds, static_cast<double>(latest_.size()));
}
double StepClock::images_per_second() const {
  return ratio(static_cast<double>(recent_.images), recent_.seconds);
}
double StepClock::loader_wait() const { return ratio(recent_.waited, recent_.seconds); }
double StepClock::total_images_per_second() const {
  return ratio(static_cast<double>(total_.images), total_.seconds);
}
double StepClock::total_loader_wait() const { return ratio(total_.waited, total_.seconds); }

}  // namespace espalier
