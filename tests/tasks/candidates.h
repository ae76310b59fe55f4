#pragma once

#include "base/random.h"
#include "tasks/nms.h"

namespace espalier::test {

/// Boxes up to 40 wide that begin within 0 .. extent, with many equal scores.
inline Candidates random_candidates(int count, int classes, uint64_t seed, double extent = 90) {
  Random random(seed, Purpose::kTest);
  Candidates c;
  c.classes = classes;
  for (int i = 0; i < count; ++i) {
    const double x = random.uniform(0, extent), y = random.uniform(0, extent);
    c.x0.push_back(static_cast<float>(x));
    c.y0.push_back(static_cast<float>(y));
    c.x1.push_back(static_cast<float>(x + random.uniform(1, 40)));
    c.y1.push_back(static_cast<float>(y + random.uniform(1, 40)));
    for (int k = 0; k < classes; ++k) c.scores.push_back(static_cast<float>(random.below(50)) / 50);
  }
  return c;
}

}  // namespace espalier::test
