#include "compress/accuracy_control.h"

#include <cmath>

#include "base/error.h"

namespace espalier {

AccuracyControl control_accuracy(const Int8Form& form, const AccuracyLimit& limit, Measurements& measurements,
                                 std::vector<LayerError>& layers,
                                 const std::function<void(const AccuracyControl&)>& on_better) {
  ESPALIER_CHECK(limit.max_drop >= 0 && std::isfinite(limit.max_drop), "accuracy control: max_drop is ",
                 limit.max_drop, "; give the largest fall of the metric, such as 0.005");
  AccuracyControl best{.form = form};
  best.metric_fp32 = measurements.of(limit.fp32 ? *limit.fp32 : form.prepared, "FP32").metric;
  bool first = true;
  /// Whether the limit holds with these layers in FP32; the best so far is kept.
  const auto holds = [&](const std::vector<std::string>& returned) {
    AccuracyControl now{.form = form, .metric_fp32 = best.metric_fp32, .returned = returned};
    std::vector<std::string>& kept = now.form.options.keep_fp32;
    kept.insert(kept.end(), returned.begin(), returned.end());
    const std::string what =
        returned.empty() ? "INT8" : str("INT8 but for ", returned.size(), ", among them ", returned.back());
    now.metric_int8 = measurements.of(now.form.quantised(), what).metric;
    // Rounding of the subtraction must not decide about a limit of exactly so many pictures.
    now.reached = now.metric_fp32 - now.metric_int8 <= limit.max_drop + 1e-9;
    const bool better = best.reached ? now.reached && returned.size() < best.returned.size()
                                     : now.reached || now.metric_int8 > best.metric_int8;
    if (!first && !better) return now.reached;
    first = false;
    best = now;
    if (on_better) on_better(best);
    return now.reached;
  };
  if (holds({})) return best;
  measure_each_layer(form, measurements, layers);
  std::vector<std::string> returned;
  for (const std::string& worst : worst_first(layers)) {
    returned.push_back(worst);
    if (holds(returned)) break;
  }
  if (!best.reached) return best;
  // Some went only because a worse one was not enough yet: those come back, the least harmful first.
  returned.pop_back();
  for (auto back = returned.rbegin(); back != returned.rend(); ++back) {
    std::vector<std::string> fewer = best.returned;
    std::erase(fewer, *back);
    holds(fewer);
  }
  return best;
}

}  // namespace espalier
