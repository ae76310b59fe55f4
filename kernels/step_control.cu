#include "kernels/step_control.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

ESPALIER_HD bool is_finite(double v) { return std::fabs(v) <= std::numeric_limits<double>::max(); }

/// One item in all.
struct Judge {
  StepOutcome o;
  StepControl* control;
  ESPALIER_HD void operator()(int64_t) const {
    double loss = 0;
    for (const LossShare& part : o.losses)
      if (part.loss) loss += part.share * static_cast<double>(*part.loss);
    const double norm = o.gradient_squares ? std::sqrt(*o.gradient_squares) : 0;
    control->loss = loss;
    control->gradient_norm = norm;
    control->finite =
        is_finite(loss) && is_finite(norm) && (!o.statistic_squares || is_finite(*o.statistic_squares));
    control->gradient_scale =
        control->clip > 0 && norm > control->clip ? static_cast<float>(control->clip / norm) : 1.0f;
  }
};

}  // namespace

SharedControl::SharedControl(Device device)
    : device_(device),
      on_device_(device == Device::kCpu ? &host_
                                        : static_cast<StepControl*>(allocate(device, sizeof(StepControl)))),
      said_(device, sizeof(StepControl)) {}

SharedControl::~SharedControl() {
  if (on_device_ != &host_) release(device_, on_device_, sizeof(StepControl));
}

void SharedControl::send() {
  if (on_device_ != &host_) copy(device_, on_device_, Device::kCpu, &host_, sizeof(StepControl));
}

void SharedControl::ask() {
  said_.start(on_device_);
  asked_ = true;
}

void SharedControl::fetch() {
  if (!asked_) ask();
  asked_ = false;
  const void* said = said_.wait();
  if (said != &host_) std::memcpy(&host_, said, sizeof host_);
}

void judge_step(Device device, const StepOutcome& outcome, StepControl* control) {
  for_each(device, 1, Judge{outcome, control});
}

}  // namespace espalier::kernels
