#pragma once
// From pictures to ranges: streaming histograms of every activation, and calibrators that read them.

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "graph/graph.h"
#include "kernels/magnitudes.h"
#include "passes/quantize.h"
#include "tasks/batch.h"

namespace espalier {

/// Counts of |x| in 2048 bins. The range grows by powers of two and bins merge in pairs, so the counts are a
/// function of the values alone, however they were batched, and memory is constant.
class Histogram {
 public:
  static constexpr int kBins = kernels::kMagnitudeBins;

  /// Adds |values|, which lie on the device. Throws Error where one is NaN or infinity.
  void add(const float* values, int64_t count, Device device = Device::kCpu);

  double width() const { return width_; }  ///< of a bin; 0 while nothing but zeros was seen
  float largest() const { return largest_; }
  int64_t count() const { return count_; }
  bool negative() const { return negative_; }  ///< some value was below zero, so the codes are signed
  const std::vector<int64_t>& bins() const { return bins_; }
  /// Where rare values (1e30) have made the bins so wide that the first holds most of the others: the power
  /// of two that all but 1 of 10,000 values stay under; 0 otherwise.
  double bulk() const;

 private:
  static constexpr int kOctaves = kernels::kMagnitudeOctaves;

  void grow(float value);

  std::vector<int64_t> bins_ = std::vector<int64_t>(kBins);
  std::vector<int64_t> octaves_ = std::vector<int64_t>(kOctaves);
  double width_ = 0;
  float largest_ = 0;
  int64_t count_ = 0;
  bool negative_ = false;
};

/// The largest magnitude worth a code.
using CalibratorFunction = double (*)(const Histogram& histogram, const struct CalibrateOptions& options);

struct CalibratorEntry {
  std::string name;
  std::string description;
  CalibratorFunction range;
  bool clips = true;  ///< leaves out what is rare
};

/// kl, mse, min_max, percentile.
const std::vector<CalibratorEntry>& calibrator_table();
/// Throws Error naming the known ones.
const CalibratorEntry& find_calibrator(const std::string& name);

struct CalibrateOptions {
  std::string calibrator = "percentile";  ///< KL clips what the residual sums of a MobileNet need
  double percentile = 99.99;              ///< for the calibrator of that name
  int64_t batches = -1;                   ///< of the source; -1: all
  bool bias_correction = true;            ///< see QuantizeOptions::means
  /// The reference's KL: zeros count, candidates from 0.7 of the largest value on, 255 levels.
  bool paddlex_compat = false;
};

/// What quantize() needs to know of every activation, by value name.
struct Calibration {
  std::map<std::string, float> ranges;
  std::map<std::string, std::vector<double>> means;  ///< of every channel
};

/// What was seen of every activation, by value name.
struct Observed {
  std::map<std::string, Histogram> histograms;
  std::map<std::string, std::vector<double>> means;
  int64_t images = 0;
};

/// Runs at most `batches` (-1: all) through the graph of prepare_for_quantization(). Throws Error naming the
/// layer whose activation holds NaN, and when the source gives nothing; Interrupted after Ctrl-C.
Observed observe(const Graph& prepared, BatchSource& source, int64_t batches = -1);
/// The ranges that a calibrator reads from it. Warns of outliers that would leave the others no codes, and
/// leaves the means of their activations out, which would be theirs alone.
Calibration calibration_of(const Observed& observed, const CalibrateOptions& options = {});

/// Measures all activations, on the graph of prepare_for_quantization(). Throws Error naming the layer whose
/// activation holds NaN, and when the source gives nothing; Interrupted after Ctrl-C.
Calibration calibrate(const Graph& prepared, BatchSource& source, const CalibrateOptions& options = {});

struct QuantizeReport {
  int quantized = 0;              ///< items that run in INT8
  std::vector<std::string> fp32;  ///< items that stay
  std::map<std::string, float> ranges;
  int64_t images = 0;  ///< calibrated on
};

/// prepare, calibrate, quantize.
Graph quantize_model(const Graph& graph, BatchSource& source, const CalibrateOptions& calibration = {},
                     const QuantizeOptions& options = {}, QuantizeReport* report = nullptr);

/// What became of every item.
QuantizeReport quantize_report(const Graph& int8, const std::map<std::string, float>& ranges, int64_t images);
Json to_json(const QuantizeReport& report);

}  // namespace espalier
