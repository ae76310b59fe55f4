#include "tasks/average_precision.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tasks/bootstrap.h"
#include "tasks/nms.h"

namespace espalier {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kCocoBoxes = 100;

bool counts(const ObjectBox& object) { return !object.difficult && !object.crowd; }

int times_of(std::span<const int> times, int picture) { return times.empty() ? 1 : times[picture]; }

/// Mean over the wanted recalls, rising, of the precision at the first place that reaches it.
double at_recalls(const std::vector<double>& recall, const std::vector<double>& envelope,
                  const std::vector<double>& wanted) {
  double sum = 0;
  size_t at = 0;
  for (const double least : wanted) {
    while (at < recall.size() && recall[at] < least) ++at;
    if (at < recall.size()) sum += envelope[at];
  }
  return sum / static_cast<double>(wanted.size());
}

/// Each rounded as its definition does: an exact 0.35 reaches 35 / 100, but not COCO's 35 * 0.01.
std::vector<double> wanted_recalls(MapRule rule) {
  std::vector<double> recalls;
  for (int i = 0; rule == MapRule::kVoc11 && i <= 10; ++i) recalls.push_back(i / 10.0);
  for (int i = 0; rule == MapRule::kCoco && i <= 100; ++i) recalls.push_back(i * 0.01);
  return recalls;
}

double area_under(const std::vector<double>& recall, const std::vector<double>& envelope) {
  double sum = 0, before = 0;
  for (size_t i = 0; i < recall.size(); ++i) {
    sum += (recall[i] - before) * envelope[i];
    before = recall[i];
  }
  return sum;
}

}  // namespace

AveragePrecision::AveragePrecision(int classes, MapRule rule, bool inclusive)
    : classes_(classes),
      rule_(rule),
      inclusive_(inclusive),
      recalls_(wanted_recalls(rule)),
      found_(static_cast<size_t>(classes)),
      sorted_(static_cast<size_t>(classes)),
      objects_(static_cast<size_t>(classes)) {
  for (int i = 0; i < (rule == MapRule::kCoco ? 10 : 1); ++i) thresholds_.push_back(0.5 + 0.05 * i);
}

void AveragePrecision::add(const std::vector<ObjectBox>& predictions, const std::vector<ObjectBox>& truth) {
  for (int k = 0; k < classes_; ++k) {
    std::vector<ObjectBox> found, objects;
    for (const ObjectBox& box : predictions)
      if (box.label == k) found.push_back(box);
    for (const ObjectBox& box : truth)
      if (box.label == k) objects.push_back(box);
    std::stable_sort(found.begin(), found.end(),
                     [](const ObjectBox& a, const ObjectBox& b) { return a.score > b.score; });
    const auto count = std::count_if(objects.begin(), objects.end(), counts);
    if (count > 0) objects_[k].push_back({pictures_, static_cast<int>(count)});
    if (found.empty()) continue;
    sorted_[k] = false;
    rule_ == MapRule::kCoco ? match_coco(found, objects, k) : match_voc(found, objects, k);
  }
  ++pictures_;
}

/// As the VOC development kit: the object with the largest overlap decides, even one that is taken.
void AveragePrecision::match_voc(const std::vector<ObjectBox>& found, const std::vector<ObjectBox>& truth,
                                 int k) {
  std::vector<bool> taken(truth.size());
  for (const ObjectBox& box : found) {
    double best = 0;
    size_t at = 0;
    for (size_t i = 0; i < truth.size(); ++i)
      if (const double overlap = overlap_of(box, truth[i], inclusive_); overlap > best) {
        best = overlap;
        at = i;
      }
    Found entry{box.score, pictures_, 0, 0};
    if (best > thresholds_[0]) {
      entry.ignored = !counts(truth[at]);
      entry.right = !entry.ignored && !taken[at];
      taken[at] = true;
    }
    found_[k].push_back(entry);
  }
}

/// As COCO's evaluation: the largest overlap with an object that is free; objects that count before others.
void AveragePrecision::match_coco(const std::vector<ObjectBox>& found, const std::vector<ObjectBox>& truth,
                                  int k) {
  std::vector<ObjectBox> objects = truth;
  std::stable_partition(objects.begin(), objects.end(), counts);
  const size_t boxes = std::min(found.size(), kCocoBoxes);
  std::vector<double> overlaps;
  for (size_t d = 0; d < boxes; ++d)
    for (const ObjectBox& object : objects) overlaps.push_back(overlap_of(found[d], object, inclusive_));
  std::vector<Found> entries;
  for (size_t d = 0; d < boxes; ++d) entries.push_back({found[d].score, pictures_, 0, 0});
  std::vector<bool> taken;
  for (size_t t = 0; t < thresholds_.size(); ++t) {
    taken.assign(objects.size(), false);
    for (size_t d = 0; d < boxes; ++d) {
      double best = std::min(thresholds_[t], 1 - 1e-10);
      int at = -1;
      for (size_t i = 0; i < objects.size(); ++i) {
        if (taken[i] && !objects[i].crowd) continue;
        if (at >= 0 && counts(objects[at]) && !counts(objects[i])) break;
        if (overlaps[d * objects.size() + i] < best) continue;
        best = overlaps[d * objects.size() + i];
        at = static_cast<int>(i);
      }
      if (at < 0) continue;
      taken[at] = true;
      (counts(objects[at]) ? entries[d].right : entries[d].ignored) |= static_cast<uint16_t>(1u << t);
    }
  }
  found_[k].insert(found_[k].end(), entries.begin(), entries.end());
}

const std::vector<AveragePrecision::Found>& AveragePrecision::sorted(int k) const {
  if (!sorted_[k])
    std::stable_sort(found_[k].begin(), found_[k].end(), [](const Found& a, const Found& b) {
      return a.score > b.score || (a.score == b.score && a.picture < b.picture);
    });
  sorted_[k] = true;
  return found_[k];
}

int64_t AveragePrecision::objects(int k, std::span<const int> times) const {
  int64_t sum = 0;
  for (const Objects& o : objects_[k]) sum += int64_t{o.count} * times_of(times, o.picture);
  return sum;
}

int64_t AveragePrecision::objects(int k) const { return objects(k, {}); }

int64_t AveragePrecision::objects() const {
  int64_t sum = 0;
  for (int k = 0; k < classes_; ++k) sum += objects(k);
  return sum;
}

double AveragePrecision::average(int k, size_t threshold, std::span<const int> times) const {
  const int64_t all = objects(k, times);
  if (all == 0) return kNone;
  std::vector<double> recall, envelope;
  int64_t right = 0, wrong = 0;
  const unsigned bit = 1u << threshold;
  for (const Found& f : sorted(k)) {
    const int count = times_of(times, f.picture);
    if (count == 0 || (f.ignored & bit)) continue;
    (f.right & bit ? right : wrong) += count;
    recall.push_back(static_cast<double>(right) / static_cast<double>(all));
    envelope.push_back(static_cast<double>(right) / static_cast<double>(right + wrong));
  }
  for (size_t i = envelope.size(); i-- > 1;) envelope[i - 1] = std::max(envelope[i - 1], envelope[i]);
  return rule_ == MapRule::kArea ? area_under(recall, envelope) : at_recalls(recall, envelope, recalls_);
}

double AveragePrecision::class_mean(int k, std::span<const int> times) const {
  double sum = 0;
  for (size_t t = 0; t < thresholds_.size(); ++t) sum += average(k, t, times);
  return sum / static_cast<double>(thresholds_.size());
}

double AveragePrecision::mean(std::span<const int> times) const {
  double sum = 0;
  int classes = 0;
  for (int k = 0; k < classes_; ++k)
    if (const double average = class_mean(k, times); !std::isnan(average)) {
      sum += average;
      ++classes;
    }
  return classes > 0 ? sum / classes : kNone;
}

double AveragePrecision::mean() const { return mean({}); }
double AveragePrecision::of_class(int k) const { return class_mean(k, {}); }

double AveragePrecision::mean_at(double iou) const {
  for (size_t t = 0; t < thresholds_.size(); ++t) {
    if (std::abs(thresholds_[t] - iou) > 1e-9) continue;
    double sum = 0;
    int classes = 0;
    for (int k = 0; k < classes_; ++k)
      if (const double a = average(k, t, {}); !std::isnan(a)) {
        sum += a;
        ++classes;
      }
    return classes > 0 ? sum / classes : kNone;
  }
  fail(str("average precision: nothing was matched at IoU ", iou));
}

PrecisionCurve AveragePrecision::curve(int k) const {
  PrecisionCurve curve;
  const int64_t all = objects(k);
  int64_t right = 0, wrong = 0;
  for (const Found& f : sorted(k)) {
    if (f.ignored & 1u || all == 0) continue;
    ++(f.right & 1u ? right : wrong);
    curve.recall.push_back(static_cast<double>(right) / static_cast<double>(all));
    curve.precision.push_back(static_cast<double>(right) / static_cast<double>(right + wrong));
    curve.score.push_back(f.score);
  }
  return curve;
}

std::pair<double, double> AveragePrecision::interval() const {
  return bootstrap_interval(pictures_, mean(), [this](std::span<const int> times) { return mean(times); });
}

}  // namespace espalier
