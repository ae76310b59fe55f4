#include "train/early_stop.h"

namespace espalier {

bool EarlyStop::update(double metric) {
  if (!state.started || metric > state.best + options_.threshold) {
    state = {.started = true, .best = metric, .waited = 0};
    return false;
  }
  return ++state.waited >= options_.patience && options_.patience > 0;
}

}  // namespace espalier
