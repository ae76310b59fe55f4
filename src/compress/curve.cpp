#include "compress/curve.h"

#include <algorithm>

namespace espalier {

Curve::Curve(const std::vector<SensitivityPoint>& points, double SensitivityPoint::*value,
             double with_nothing_removed)
    : knots_{{0, 0}} {
  for (const SensitivityPoint& p : points)
    knots_.push_back({p.ratio, std::max(p.*value - with_nothing_removed, knots_.back().loss)});
}

double Curve::loss(double ratio) const {
  for (size_t i = 1; i < knots_.size(); ++i) {
    const Knot &a = knots_[i - 1], &b = knots_[i];
    if (ratio < b.ratio) return a.loss + (b.loss - a.loss) * (ratio - a.ratio) / (b.ratio - a.ratio);
  }
  return largest_loss();
}

double Curve::ratio_within(double tolerance) const {
  size_t i = knots_.size() - 1;
  while (i > 0 && knots_[i].loss > tolerance) --i;
  if (i + 1 == knots_.size()) return knots_[i].ratio;
  const Knot &a = knots_[i], &b = knots_[i + 1];
  return a.ratio + (std::max(tolerance, a.loss) - a.loss) / (b.loss - a.loss) * (b.ratio - a.ratio);
}

}  // namespace espalier
