#include "compress/calibrate.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "compress/watch.h"

namespace espalier {

namespace {

/// Sums per channel, in parts of fixed extent, so that the number of threads changes nothing.
class ChannelMeans {
 public:
  void add(const Tensor& x) {
    const int64_t C = x.shape().back(), rows = x.elements() / C;
    sums_.resize(static_cast<size_t>(C));
    constexpr int64_t kRows = 1 << 12;
    const int64_t parts = (rows + kRows - 1) / kRows;
    std::vector<double> partial(static_cast<size_t>(parts * C));
    const float* values = x.f32();
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < parts; ++part) {
      double* sum = partial.data() + part * C;
      for (int64_t row = part * kRows; row < std::min(rows, (part + 1) * kRows); ++row)
        for (int64_t c = 0; c < C; ++c) sum[c] += values[row * C + c];
    }
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t c = 0; c < C; ++c) sums_[c] += partial[part * C + c];
    rows_ += rows;
  }
  std::vector<double> values() const {
    std::vector<double> means = sums_;
    for (double& mean : means) mean /= static_cast<double>(rows_);
    return means;
  }

 private:
  std::vector<double> sums_;
  int64_t rows_ = 0;
};

}  // namespace

void Histogram::grow(float value) {
  // A power of two above every value: merging bins in pairs is then exact, whatever the order of values.
  if (width_ == 0) width_ = std::ldexp(1.0, std::ilogb(value) + 1) / kBins;
  while (value >= width_ * kBins) {
    for (int i = 0; i < kBins / 2; ++i) bins_[i] = bins_[2 * i] + bins_[2 * i + 1];
    std::fill(bins_.begin() + kBins / 2, bins_.end(), 0);
    width_ *= 2;
  }
}

void Histogram::add(const float* values, int64_t count) {
  constexpr int64_t kAlone = 1 << 14;  // fewer values than are worth waking threads for
  float largest = 0;
  bool finite = true, negative = false;
#pragma omp parallel for schedule(static) reduction(max : largest) reduction(&& : finite) \
    reduction(|| : negative) if (count > kAlone)
  for (int64_t i = 0; i < count; ++i) {
    const float v = std::abs(values[i]);
    negative = negative || values[i] < 0;
    finite = finite && v <= std::numeric_limits<float>::max();
    largest = v > largest ? v : largest;
  }
  ESPALIER_CHECK(finite, "an activation holds NaN or infinity; the model or its input is broken");
  count_ += count;
  negative_ = negative_ || negative;
  if (largest == 0) return;
  grow(largest);
  largest_ = std::max(largest_, largest);
  const double per_width =
      1 / width_;  // a power of two: exact, and too large for a float where values are tiny
  int64_t* bins = bins_.data();
#pragma omp parallel for schedule(static) reduction(+ : bins[:kBins]) if (count > kAlone)
  for (int64_t i = 0; i < count; ++i) {
    // Zero has a code of its own whatever the range; counting it would only hide the others.
    const float v = std::abs(values[i]);
    if (v > 0) ++bins[static_cast<int>(v * per_width)];
  }
  int64_t* octaves = octaves_.data();
#pragma omp parallel for schedule(static) reduction(+ : octaves[:kOctaves]) if (count > kAlone)
  for (int64_t i = 0; i < count; ++i)
    if (values[i] != 0) ++octaves[std::bit_cast<uint32_t>(values[i]) >> 23 & 255];
}

double Histogram::bulk() const {
  int64_t counted = 0, above = 0;
  for (const int64_t n : octaves_) counted += n;
  if (2 * bins_[0] <= counted) return 0;
  for (int e = kOctaves - 1; e > 0; --e) {
    above += octaves_[e];
    if (above * 10000 > counted) return std::ldexp(1.0, e - 126);
  }
  return 0;
}

Observed observe(const Graph& g, BatchSource& source, int64_t most) {
  std::vector<Histogram> histograms(g.values.size());
  std::vector<ChannelMeans> means(g.values.size());
  Observed result;
  source.start(0);
  Batch batch;
  int64_t batches = 0;
  while ((most < 0 || batches < most) && source.next(batch)) {
    if (interrupt_requested()) throw Interrupted("interrupted during the calibration");
    ++batches;
    result.images += batch.size();
    watch(g, batch.images, [&](int v, const Tensor& values) {
      histograms[v].add(values.f32(), values.elements());
      means[v].add(values);
    });
  }
  ESPALIER_CHECK(batches > 0, "calibrate: the data set gave no pictures; at least one batch is needed");
  for (size_t v = 0; v < g.values.size(); ++v) {
    if (g.values[v].param.defined()) continue;
    result.histograms[g.values[v].name] = std::move(histograms[v]);
    result.means[g.values[v].name] = means[v].values();
  }
  return result;
}

Calibration calibration_of(const Observed& observed, const CalibrateOptions& options) {
  const CalibratorEntry& calibrator = find_calibrator(options.calibrator);
  Calibration result{.means = observed.means};
  for (const auto& [name, histogram] : observed.histograms) {
    // An activation that was always zero still needs a scale; any will do.
    double range = histogram.largest() > 0 ? calibrator.range(histogram, options) : 1.0;
    if (const double bulk = histogram.bulk(); calibrator.clips && bulk > 0 && bulk < range) {
      spdlog::warn(
          "calibrate: {}: a few values reach {:g}, nearly all others stay under {:g}, which is taken", name,
          histogram.largest(), bulk);
      range = bulk;
      result.means.erase(name);  // they are of the few
    }
    result.ranges[name] = static_cast<float>(range);
  }
  return result;
}

Calibration calibrate(const Graph& prepared, BatchSource& source, const CalibrateOptions& options) {
  find_calibrator(options.calibrator);  // before the work
  return calibration_of(observe(prepared, source, options.batches), options);
}

Graph quantize_model(const Graph& graph, BatchSource& source, const CalibrateOptions& calibration,
                     const QuantizeOptions& options, QuantizeReport* report) {
  const Graph prepared = prepare_for_quantization(graph);
  find_calibrator(calibration.calibrator);
  const Observed observed = observe(prepared, source, calibration.batches);
  Calibration measured = calibration_of(observed, calibration);
  QuantizeOptions with_means = options;
  if (calibration.bias_correction) with_means.means = std::move(measured.means);
  Graph int8 = quantize(prepared, measured.ranges, with_means);
  if (report) *report = quantize_report(int8, measured.ranges, observed.images);
  return int8;
}

QuantizeReport quantize_report(const Graph& int8, const std::map<std::string, float>& ranges,
                               int64_t images) {
  QuantizeReport report{.ranges = ranges, .images = images};
  for (const Graph::Item& item : int8.items) {
    const std::string name = item.op->name();
    if (name == "quantize" || name == "dequantize") continue;
    if (name.starts_with("quantized_") || int8.values[item.out[0]].meta.dtype != DType::kF32)
      ++report.quantized;
    else
      report.fp32.push_back(item.name);
  }
  return report;
}

Json to_json(const QuantizeReport& report) {
  Json ranges = Json::object();
  for (const auto& [name, range] : report.ranges) ranges[name] = range;
  return {
      {"quantized", report.quantized}, {"fp32", report.fp32}, {"images", report.images}, {"ranges", ranges}};
}

}  // namespace espalier
