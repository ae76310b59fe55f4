#pragma once
// How well detections agree with the objects that are there.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "tasks/annotation.h"

namespace espalier {

enum class MapRule {
  kVoc11,  ///< mean over recalls 0, 0.1 .. 1 of the best precision at it or above, at IoU > 0.5 (VOC until
           ///< 2009)
  kArea,   ///< area under the precision envelope, at IoU > 0.5 (VOC since 2010)
  kCoco,   ///< mean over IoU >= 0.50, 0.55 .. 0.95 of the envelope at 101 recalls, 100 boxes a picture and
           ///< class
};

/// Precision and recall of one class, a point a detection, from the surest on.
struct PrecisionCurve {
  std::vector<double> recall, precision, score;
};

/// Collects predictions and ground truth picture by picture; classes without objects have no average
/// precision and do not count in means.
class AveragePrecision {
 public:
  /// `inclusive`: corners are pixels, as in NmsOptions.
  AveragePrecision(int classes, MapRule rule, bool inclusive = false);

  /// One picture. Difficult objects and crowds are neither found nor missed, and what hits them is neither
  /// right nor wrong; many boxes may lie in one crowd.
  void add(const std::vector<ObjectBox>& predictions, const std::vector<ObjectBox>& truth);

  int pictures() const { return pictures_; }
  int64_t objects(int k) const;  ///< that count
  int64_t objects() const;
  int64_t detections(int k) const { return static_cast<int64_t>(found_[k].size()); }

  double mean() const;                ///< by the rule; NaN without objects
  double of_class(int k) const;       ///< by the rule; NaN without objects
  double mean_at(double iou) const;   ///< COCO: at one of its ten thresholds
  PrecisionCurve curve(int k) const;  ///< at IoU 0.5

  /// The 95 % interval of mean(), by bootstrap over the pictures.
  std::pair<double, double> interval() const;

 private:
  /// A detection; bit t: at threshold t.
  struct Found {
    float score;
    int picture;
    uint16_t right, ignored;
  };
  /// How many objects that count a picture has.
  struct Objects {
    int picture;
    int count;
  };

  void match_voc(const std::vector<ObjectBox>& found, const std::vector<ObjectBox>& truth, int k);
  void match_coco(const std::vector<ObjectBox>& found, const std::vector<ObjectBox>& truth, int k);
  /// With every picture as often in the set as `times` says, once when it is empty.
  double average(int k, size_t threshold, std::span<const int> times) const;
  double mean(std::span<const int> times) const;
  double class_mean(int k, std::span<const int> times) const;
  int64_t objects(int k, std::span<const int> times) const;
  const std::vector<Found>& sorted(int k) const;

  int classes_;
  MapRule rule_;
  bool inclusive_;
  std::vector<double> recalls_, thresholds_;
  int pictures_ = 0;
  mutable std::vector<std::vector<Found>> found_;  ///< per class; by falling score when sorted_
  mutable std::vector<bool> sorted_;
  std::vector<std::vector<Objects>> objects_;  ///< per class
};

}  // namespace espalier
