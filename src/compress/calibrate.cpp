#include "compress/calibrate.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "compress/watch.h"
#include "kernels/batch_norm.h"
#include "kernels/magnitudes.h"

namespace espalier {

namespace {

/// Sums per channel, in parts of fixed extent, so that the number of threads changes nothing.
class ChannelMeans {
 public:
  void add(const Tensor& x) {
    const int64_t C = x.shape().back(), rows = x.elements() / C;
    sums_.resize(static_cast<size_t>(C));
    rows_ += rows;
    if (x.device() != Device::kCpu) return add_means(x, rows);
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
  }
  std::vector<double> values() const {
    std::vector<double> means = sums_;
    for (double& mean : means) mean /= static_cast<double>(rows_);
    return means;
  }

 private:
  /// From means that a GPU takes.
  void add_means(const Tensor& x, int64_t rows) {
    const Tensor moments({2, x.channels()}, x.device());
    kernels::batch_norm_statistics(x.device(), rows, x.channels(), x.f32(), moments.f32(),
                                   moments.f32() + x.channels());
    const std::vector<float> values = moments.to_vector();
    for (size_t c = 0; c < sums_.size(); ++c) sums_[c] += double{values[c]} * static_cast<double>(rows);
  }

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

void Histogram::add(const float* values, int64_t count, Device device) {
  const kernels::MagnitudeRange range = kernels::magnitude_range(device, count, values);
  ESPALIER_CHECK(range.finite, "an activation holds NaN or infinity; the model or its input is broken");
  count_ += count;
  negative_ = negative_ || range.negative;
  if (range.largest == 0) return;
  grow(range.largest);
  largest_ = std::max(largest_, range.largest);
  // Zero has a code of its own whatever the range; counting it would only hide the others. The width is a
  // power of two: its inverse is exact, and too large for a float where values are tiny.
  kernels::count_magnitudes(device, count, values, 1 / width_, bins_.data(), octaves_.data());
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
    watch(g, network_images(batch, g.device()), [&](int v, const Tensor& values) {
      histograms[v].add(values.f32(), values.elements(), values.device());
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
