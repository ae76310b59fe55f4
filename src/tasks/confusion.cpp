#include "tasks/confusion.h"

#include <cassert>
#include <limits>
#include <numeric>

#include "kernels/label_map.h"
#include "tasks/annotation.h"
#include "tasks/bootstrap.h"

namespace espalier {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double share(int64_t part, int64_t of) {
  return of > 0 ? static_cast<double>(part) / static_cast<double>(of) : kNone;
}

}  // namespace

Confusion::Confusion(int classes, bool absent_counts)
    : classes_(classes), absent_counts_(absent_counts), matrix_(static_cast<size_t>(classes) * classes) {}

void Confusion::add(std::span<const uint8_t> labels, std::span<const uint8_t> predictions) {
  assert(labels.size() == predictions.size());
  // A column for every value of a byte, so that the loop has no branch for ignored pixels.
  std::vector<int64_t> seen(static_cast<size_t>(classes_) * 256);
  kernels::count_label_pairs(Device::kCpu, static_cast<int64_t>(labels.size()), classes_, labels.data(),
                             predictions.data(), seen.data());
  add(seen);
}

void Confusion::add(std::span<const int64_t> seen) {
  assert(seen.size() == static_cast<size_t>(classes_) * 256);
  Counts counts(static_cast<size_t>(classes_) * 3);
  for (int label = 0; label < classes_; ++label)
    for (int k = 0; k < classes_; ++k) {
      const int64_t pixels = seen[static_cast<size_t>(k) * 256 + label];
      matrix_[static_cast<size_t>(label) * classes_ + k] += pixels;
      if (label == k) counts[3 * k] += pixels;
      counts[3 * label + 1] += pixels;
      counts[3 * k + 2] += pixels;
    }
  pictures_.push_back(std::move(counts));
}

int64_t Confusion::pixels() const { return std::accumulate(matrix_.begin(), matrix_.end(), int64_t{0}); }

int64_t Confusion::labelled(int k) const {
  int64_t sum = 0;
  for (int other = 0; other < classes_; ++other) sum += at(k, other);
  return sum;
}

int64_t Confusion::predicted(int k) const {
  int64_t sum = 0;
  for (int other = 0; other < classes_; ++other) sum += at(other, k);
  return sum;
}

double Confusion::iou(int k) const { return share(at(k, k), labelled(k) + predicted(k) - at(k, k)); }
double Confusion::recall(int k) const { return share(at(k, k), labelled(k)); }
double Confusion::precision(int k) const { return share(at(k, k), predicted(k)); }
double Confusion::f1(int k) const { return share(2 * at(k, k), labelled(k) + predicted(k)); }

double Confusion::accuracy() const {
  int64_t right = 0;
  for (int k = 0; k < classes_; ++k) right += at(k, k);
  return share(right, pixels());
}

double Confusion::kappa() const {
  const double all = static_cast<double>(pixels());
  double chance = 0;
  for (int k = 0; k < classes_; ++k)
    chance += static_cast<double>(labelled(k)) / all * (static_cast<double>(predicted(k)) / all);
  return chance < 1 ? (accuracy() - chance) / (1 - chance) : 1.0;
}

double Confusion::mean_iou_of(const Counts& counts) const {
  double sum = 0;
  int classes = 0;
  for (int k = 0; k < classes_; ++k) {
    const int64_t right = counts[3 * k], either = counts[3 * k + 1] + counts[3 * k + 2] - right;
    if (either > 0) sum += share(right, either);
    classes += either > 0 || absent_counts_;
  }
  return classes > 0 ? sum / classes : kNone;
}

double Confusion::mean_iou() const {
  Counts counts;
  for (int k = 0; k < classes_; ++k)
    for (const int64_t pixels : {at(k, k), labelled(k), predicted(k)}) counts.push_back(pixels);
  return mean_iou_of(counts);
}

std::pair<double, double> Confusion::mean_iou_interval() const {
  return bootstrap_interval(pictures(), mean_iou(), [this](std::span<const int> times) {
    Counts sum(static_cast<size_t>(classes_) * 3);
    for (size_t i = 0; i < times.size(); ++i)
      if (times[i] > 0)
        for (size_t j = 0; j < sum.size(); ++j) sum[j] += times[i] * pictures_[i][j];
    return mean_iou_of(sum);
  });
}

}  // namespace espalier
