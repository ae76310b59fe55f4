#pragma once
// What INT8 does to every layer: the error of its activations, and of the metric when it alone is quantised.

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "compress/measurements.h"
#include "passes/quantize.h"

namespace espalier {

/// How a prepared graph becomes INT8: everything that quantize() takes.
struct Int8Form {
  Graph prepared;
  std::map<std::string, float> ranges;
  QuantizeOptions options;

  Graph quantised() const { return quantize(prepared, ranges, options); }
};

/// One layer or addition that has an INT8 form.
struct LayerError {
  std::string layer;
  std::string op;                          ///< "conv2d"
  double sqnr_db = 0;                      ///< see signal_to_noise(); at most kLeastNoise
  std::optional<double> metric_only_this;  ///< the metric with this one in INT8 and all others in FP32
  std::optional<double> loss_only_this;    ///< the evaluation loss then
  bool kept_fp32 = false;
};

inline constexpr double kLeastNoise = 150;  ///< dB; stands for no error at all

/// Per layer, in order of the network: 10 log10(sum x^2 / sum (x - y)^2) of its output x in FP32 and y in the
/// INT8 graph, whose error includes that of the layers before. Over the first `images` pictures, one at a
/// time, so that memory is that of one picture's activations. Throws Error when the source gives nothing.
std::vector<LayerError> layer_errors(const Int8Form& form, BatchSource& source, int64_t images = 16);

/// Fills metric_only_this of every layer that is in INT8; one evaluation each.
void measure_each_layer(const Int8Form& form, Measurements& measurements, std::vector<LayerError>& layers);

/// The layer whose INT8 form costs most comes first; equal metrics are ordered by the loss. Layers in FP32
/// are left out. Needs measure_each_layer().
std::vector<std::string> worst_first(const std::vector<LayerError>& layers);

/// {"format": "espalier-layer-errors", ...}; what layer_errors.json holds.
Json layer_errors_json(const std::vector<LayerError>& layers, const std::string& metric_name,
                       std::optional<double> metric_fp32, std::optional<double> metric_int8, int64_t images);
/// The `most` worst layers by SQNR, for people.
std::string layer_errors_table(const std::vector<LayerError>& layers, std::optional<double> metric_fp32,
                               size_t most = 10);

}  // namespace espalier
