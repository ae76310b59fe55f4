#pragma once

#include "base/json.h"

namespace espalier {

/// The inputs of a finished stage as a program that knows the keys of today would have recorded them, to be
/// compared with `now`: keys that came later have their default, which must do what was done before, and
/// options of other models, which records once had, are gone.
Json as_of_today(const Json& before, const Json& now);

}  // namespace espalier
