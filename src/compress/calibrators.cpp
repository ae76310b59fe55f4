// How an activation's range is chosen from its histogram.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "compress/calibrate.h"

namespace espalier {

namespace {

/// sum of p * log(p / q) after normalising both; infinite where q is 0 and p is not.
double divergence(const std::vector<double>& p, const std::vector<double>& q, size_t count) {
  double p_sum = 0, q_sum = 0, result = 0;
  for (size_t i = 0; i < count; ++i) p_sum += p[i], q_sum += q[i];
  if (p_sum <= 0 || q_sum <= 0) return std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < count; ++i) {
    if (p[i] <= 0) continue;
    if (q[i] <= 0) return std::numeric_limits<double>::infinity();
    result += p[i] / p_sum * std::log(p[i] / p_sum * q_sum / q[i]);
  }
  return result;
}

/// The first `count` bins as `levels` codes would show them: each level's sum spread evenly over its bins
/// that hold something.
void as_levels(const std::vector<int64_t>& bins, int count, int levels, std::vector<double>& q) {
  for (int level = 0; level < levels; ++level) {
    const int first = static_cast<int>(int64_t{count} * level / levels),
              last = static_cast<int>(int64_t{count} * (level + 1) / levels);
    double sum = 0;
    int filled = 0;
    for (int i = first; i < last; ++i) sum += static_cast<double>(bins[i]), filled += bins[i] > 0;
    for (int i = first; i < last; ++i) q[i] = bins[i] > 0 ? sum / filled : 0;
  }
}

/// The threshold whose codes lose the least information (the entropy calibration of TensorRT, 2017): the
/// reference distribution keeps what lies above in its last bin, the coded one does not.
double kl_range(const Histogram& h, const CalibrateOptions& o) {
  std::vector<int64_t> bins = h.bins();
  int last = Histogram::kBins;
  while (last > 1 && bins[last - 1] == 0) --last;
  // The reference counts zeros too, which are half of what a ReLU gives.
  if (o.paddlex_compat) bins[0] += h.count() - std::accumulate(bins.begin(), bins.end(), int64_t{0});
  // As many levels as there are codes for magnitudes: 0 .. 127 signed, 0 .. 255 not. The reference starts at
  // 0.7 of the largest value, and counts 255 levels whatever the sign.
  const int levels = o.paddlex_compat ? 255 : h.negative() ? 128 : 256;
  const int start = o.paddlex_compat ? last * 7 / 10 : levels;
  double above = 0, least = std::numeric_limits<double>::infinity();
  int best = last;
  for (int i = last; i < Histogram::kBins; ++i) above += static_cast<double>(bins[i]);
  std::vector<double> p(Histogram::kBins), q(Histogram::kBins);
  for (int i = last; i >= std::min(start, last); --i) {
    if (i < last) above += static_cast<double>(bins[i]);
    if (bins[i - 1] == 0) continue;  // nothing there to carry what lies above
    for (int k = 0; k < i; ++k) p[k] = static_cast<double>(bins[k]);
    p[i - 1] += above;
    as_levels(bins, i, std::min(levels, i), q);
    const double loss = divergence(p, q, static_cast<size_t>(i));
    if (loss < least) least = loss, best = i;
  }
  return (best + (o.paddlex_compat ? 0.5 : 0.0)) * h.width();
}

/// The threshold with the least mean squared error: within it a code stands for values spread over one step,
/// beyond it the error is the distance to the threshold.
double mse_range(const Histogram& h, const CalibrateOptions& o) {
  const std::vector<int64_t>& bins = h.bins();
  const double levels = h.negative() || o.paddlex_compat ? 127 : 255;
  constexpr int kParts = 4, kStride = 8;  // points a bin, bins between candidates
  double least = std::numeric_limits<double>::infinity();
  int best = Histogram::kBins;
  for (int last = kStride; last <= Histogram::kBins; last += kStride) {
    const double step = last / levels;
    double error = 0;
    for (int i = 0; i < Histogram::kBins && error < least; ++i) {
      if (bins[i] == 0) continue;
      double sum = 0;
      for (int part = 0; part < kParts; ++part) {
        const double x = i + (part + 0.5) / kParts;
        const double coded = step * std::min(levels, std::nearbyint(x / step));
        sum += (x - coded) * (x - coded);
      }
      error += static_cast<double>(bins[i]) * sum / kParts;
    }
    if (error < least) least = error, best = last;
  }
  return std::min<double>(best * h.width(), h.largest());
}

double min_max_range(const Histogram& h, const CalibrateOptions&) { return h.largest(); }

double percentile_range(const Histogram& h, const CalibrateOptions& o) {
  ESPALIER_CHECK(o.percentile > 0 && o.percentile <= 100, "calibrate: percentile is ", o.percentile,
                 "; it must lie in (0, 100]");
  const auto allowed = static_cast<int64_t>(static_cast<double>(h.count()) * (1 - o.percentile / 100));
  int64_t above = 0;
  for (int i = Histogram::kBins - 1; i >= 0; --i) {
    above += h.bins()[i];
    if (above > allowed) return std::min<double>((i + 1) * h.width(), h.largest());
  }
  return h.largest();
}

}  // namespace

const std::vector<CalibratorEntry>& calibrator_table() {
  static const std::vector<CalibratorEntry> table = {
      {"kl", "least information lost between the values and their codes", kl_range},
      {"mse", "least mean squared error of the codes", mse_range},
      {"min_max", "the largest magnitude seen", min_max_range, false},
      {"percentile", "the magnitude that `percentile` of the values stay under", percentile_range},
  };
  return table;
}

const CalibratorEntry& find_calibrator(const std::string& name) {
  std::string known;
  for (const CalibratorEntry& entry : calibrator_table()) {
    if (entry.name == name) return entry;
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  fail("calibrator '" + name + "' is unknown; known are " + known);
}

}  // namespace espalier
