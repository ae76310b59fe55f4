#pragma once

#include <vector>

#include "compress/sensitivity.h"

namespace espalier {

/// A sensitivity curve without its noise: a loss over the ratio, from (0, 0), linear between the measured
/// points, never falling and never negative.
class Curve {
 public:
  /// Of one value of the points, less what it is with nothing removed.
  explicit Curve(const std::vector<SensitivityPoint>& points,
                 double SensitivityPoint::*value = &SensitivityPoint::loss, double with_nothing_removed = 0);

  /// Beyond the last point, where nothing was measured, that point's value.
  double loss(double ratio) const;
  /// The largest measured ratio whose loss is within the tolerance; between two points, interpolated.
  double ratio_within(double tolerance) const;
  double largest_ratio() const { return knots_.back().ratio; }
  double largest_loss() const { return knots_.back().loss; }

 private:
  struct Knot {
    double ratio, loss;
  };
  std::vector<Knot> knots_;
};

}  // namespace espalier
