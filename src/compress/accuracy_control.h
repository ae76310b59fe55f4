#pragma once
// A limit on what INT8 may cost: layers go back to FP32, worst first, until the metric is near enough.

#include <functional>

#include "compress/layer_errors.h"

namespace espalier {

struct AccuracyLimit {
  double max_drop = 0.01;       ///< of the metric, absolute: 0.01 is one point of a top1 in percent
  const Graph* fp32 = nullptr;  ///< what it falls from; form.prepared when null
};

struct AccuracyControl {
  Int8Form form;  ///< with the layers that went back among options.keep_fp32
  double metric_fp32 = 0, metric_int8 = 0;
  std::vector<std::string> returned;  ///< in the order in which they went
  bool reached = false;
};

/// Measures FP32 and INT8; while the metric falls by more than the limit, measures every layer in INT8 alone
/// (measure_each_layer(), into `layers`) and returns the worst to FP32, one more at a time, until the limit
/// holds; then takes each of them back into INT8 without which it still holds. So of the layers returned none
/// can be spared. `on_better` is called with every form that is better than those before it, at once, so that
/// the caller can keep it. Everything is measured through `measurements`, which repeats nothing: after a
/// kill the same call goes on where it stopped. Throws Error for a limit that is negative or not finite.
AccuracyControl control_accuracy(const Int8Form& form, const AccuracyLimit& limit, Measurements& measurements,
                                 std::vector<LayerError>& layers,
                                 const std::function<void(const AccuracyControl&)>& on_better = {});

}  // namespace espalier
