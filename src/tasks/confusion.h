#pragma once
// What one confusion matrix over a whole set says about a segmentation.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace espalier {

/// Pixels by label (row) and prediction (column), over all pictures.
class Confusion {
 public:
  /// `absent_counts`: a class that neither labels nor predictions hold has IoU 0 instead of none.
  explicit Confusion(int classes, bool absent_counts = false);

  /// One picture; pixels whose label is Mask::kIgnored are left out. As many of both, all below `classes`.
  void add(std::span<const uint8_t> labels, std::span<const uint8_t> predictions);
  /// The same from counts [classes, 256] by prediction and label (kernels::count_label_pairs()).
  void add(std::span<const int64_t> seen);

  int classes() const { return classes_; }
  int pictures() const { return static_cast<int>(pictures_.size()); }
  int64_t pixels() const;  ///< that count
  int64_t at(int label, int predicted) const { return matrix_[size_t(label) * classes_ + predicted]; }
  int64_t labelled(int k) const;
  int64_t predicted(int k) const;

  double mean_iou() const;        ///< NaN when no class has one
  double accuracy() const;        ///< share of pixels that are right
  double kappa() const;           ///< Cohen's: how far above chance; 1 when chance alone would be perfect
  double iou(int k) const;        ///< right / (labelled or predicted); NaN for a class that is in neither
  double recall(int k) const;     ///< right / labelled; NaN when none is
  double precision(int k) const;  ///< right / predicted; NaN when none is
  double f1(int k) const;         ///< 2 right / (labelled + predicted); NaN for a class that is in neither

  /// The 95 % interval of mean_iou(), by bootstrap over the pictures.
  std::pair<double, double> mean_iou_interval() const;

 private:
  /// Per class: right, labelled and predicted pixels of one picture.
  using Counts = std::vector<int64_t>;
  double mean_iou_of(const Counts& counts) const;

  int classes_;
  bool absent_counts_;
  std::vector<int64_t> matrix_;
  std::vector<Counts> pictures_;
};

}  // namespace espalier
