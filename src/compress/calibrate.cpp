#include "compress/calibrate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace espalier {

namespace {

/// sum of p * log(p / q) after normalising both; infinite where q is 0 and p is not.
double divergence(const std::vector<double>& p, const std::vector<double>& q, size_t count) {
  double p_sum = 0, q_sum = 0, result = 0;
  for (size_t i = 0; i < count; ++i) p_sum += p[i], q_sum += q[i];
  if (p_sum <= 0 || q_sum <= 0) return std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < count; ++i) {
    if (p[i] <= 0) continue;
    if (q[i] <= 0) return std::numeric_limits<double>::infinity();
    result += p[i] / p_sum * std::log(p[i] / p_sum * q_sum / q[i]);
  }
  return result;
}

/// The first `count` bins as `levels` codes would show them: each level's sum spread evenly over its bins
/// that hold something.
void as_levels(const std::vector<int64_t>& bins, int count, int levels, std::vector<double>& q) {
  for (int level = 0; level < levels; ++level) {
    const int first = static_cast<int>(int64_t{count} * level / levels),
              last = static_cast<int>(int64_t{count} * (level + 1) / levels);
    double sum = 0;
    int filled = 0;
    for (int i = first; i < last; ++i) sum += static_cast<double>(bins[i]), filled += bins[i] > 0;
    for (int i = first; i < last; ++i) q[i] = bins[i] > 0 ? sum / filled : 0;
  }
}

/// The threshold whose codes lose the least information (the entropy calibration of TensorRT, 2017): the
/// reference distribution keeps what lies above in its last bin, the coded one does not.
double kl_range(const Histogram& h, const CalibrateOptions& o) {
  const std::vector<int64_t>& bins = h.bins();
  int last = Histogram::kBins;
  while (last > 1 && bins[last - 1] == 0) --last;
  // As many levels as there are codes for magnitudes: 0 .. 127 signed, 0 .. 255 not. The reference starts at
  // 0.7 of the largest value, and counts 255 levels whatever the sign.
  const int levels = o.paddlex_compat ? 255 : h.negative() ? 128 : 256;
  const int start = o.paddlex_compat ? last * 7 / 10 : levels;
  double above = 0, least = std::numeric_limits<double>::infinity();
  int best = last;
  for (int i = last; i < Histogram::kBins; ++i) above += static_cast<double>(bins[i]);
  std::vector<double> p(Histogram::kBins), q(Histogram::kBins);
  for (int i = last; i >= std::min(start, last); --i) {
    if (i < last) above += static_cast<double>(bins[i]);
    if (bins[i - 1] == 0) continue;  // nothing there to carry what lies above
    for (int k = 0; k < i; ++k) p[k] = static_cast<double>(bins[k]);
    p[i - 1] += above;
    as_levels(bins, i, std::min(levels, i), q);
    const double loss = divergence(p, q, static_cast<size_t>(i));
    if (loss < least) least = loss, best = i;
  }
  return (best + (o.paddlex_compat ? 0.5 : 0.0)) * h.width();
}

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

double min_max_range(const Histogram& h, const CalibrateOptions&) { return h.largest(); }

double percentile_range(const Histogram& h, const CalibrateOptions& o) {
  ESPALIER_CHECK(o.percentile > 0 && o.percentile <= 100, "calibrate: percentile is ", o.percentile,
                 "; it must lie in (0, 100]");
  const auto allowed = static_cast<int64_t>(static_cast<double>(h.count()) * (1 - o.percentile / 100));
  int64_t above = 0;
  for (int i = Histogram::kBins - 1; i >= 0; --i) {
    above += h.bins()[i];
    if (above > allowed) return std::min<double>((i + 1) * h.width(), h.largest());
  }
  return h.largest();
}

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
}

const std::vector<CalibratorEntry>& calibrator_table() {
  static const std::vector<CalibratorEntry> table = {
      {"kl", "least information lost between the values and their codes", kl_range},
      {"min_max", "the largest magnitude seen", min_max_range},
      {"percentile", "the magnitude that `percentile` of the values stay under", percentile_range},
  };
  return table;
}

const CalibratorEntry& find_calibrator(const std::string& name) {
  std::string known;
  for (const CalibratorEntry& entry : calibrator_table()) {
    if (entry.name == name) return entry;
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  fail("calibrator '" + name + "' is unknown; known are " + known);
}

Calibration calibrate(const Graph& g, BatchSource& source, const CalibrateOptions& options) {
  const CalibratorEntry& calibrator = find_calibrator(options.calibrator);
  const NoGrad no_grad;
  std::vector<Histogram> histograms(g.values.size());
  std::vector<ChannelMeans> means(g.values.size());
  std::vector<int> readers(g.values.size(), 0);
  for (const Graph::Item& item : g.items)
    for (int v : item.in) ++readers[v];
  source.start(0);
  Batch batch;
  int64_t batches = 0;
  while ((options.batches < 0 || batches < options.batches) && source.next(batch)) {
    ++batches;
    // apply() in a loop, so that every activation is seen and only those still to be read are alive.
    Tensors at(g.values.size());
    std::vector<int> left = readers;
    for (size_t v = 0; v < g.values.size(); ++v)
      if (g.values[v].param.defined()) at[v] = g.values[v].param;
    const auto see = [&](int v) {
      const Running place(g.values[v].name);
      const Tensor host = at[v].to(Device::kCpu);
      histograms[v].add(host.f32(), host.elements());
      means[v].add(host);
      if (left[v] == 0) at[v] = Tensor();
    };
    at[g.inputs[0]] = batch.images;
    see(g.inputs[0]);
    for (const Graph::Item& item : g.items) {
      const Running place(item.name);
      Tensors in;
      for (int v : item.in) in.push_back(at[v]);
      for (int v : item.in)
        if (--left[v] == 0) at[v] = Tensor();
      const Tensors out = espalier::apply(item.op, in);
      for (size_t i = 0; i < out.size(); ++i) {
        at[item.out[i]] = out[i];
        see(item.out[i]);
      }
    }
  }
  ESPALIER_CHECK(batches > 0, "calibrate: the data set gave no pictures; at least one batch is needed");
  Calibration result;
  for (size_t v = 0; v < g.values.size(); ++v) {
    if (g.values[v].param.defined()) continue;
    // An activation that was always zero still needs a scale; any will do.
    const double range = histograms[v].largest() > 0 ? calibrator.range(histograms[v], options) : 1.0;
    result.ranges[g.values[v].name] = static_cast<float>(range);
    result.means[g.values[v].name] = means[v].values();
  }
  return result;
}

Graph quantize_model(const Graph& graph, BatchSource& source, const CalibrateOptions& calibration,
                     const QuantizeOptions& options, QuantizeReport* report) {
  const Graph prepared = prepare_for_quantization(graph);
  Calibration measured = calibrate(prepared, source, calibration);
  QuantizeOptions with_means = options;
  if (calibration.bias_correction) with_means.means = std::move(measured.means);
  Graph int8 = quantize(prepared, measured.ranges, with_means);
  if (report) {
    report->ranges = measured.ranges;
    report->images =
        calibration.batches < 0
            ? source.samples()
            : std::min(source.samples(), calibration.batches * ((source.samples() + source.batches() - 1) /
                                                                std::max<int64_t>(1, source.batches())));
    for (const Graph::Item& item : int8.items) {
      const std::string name = item.op->name();
      if (name == "quantize" || name == "dequantize") continue;
      if (name.starts_with("quantized_") || int8.values[item.out[0]].meta.dtype != DType::kF32)
        ++report->quantized;
      else
        report->fp32.push_back(item.name);
    }
  }
  return int8;
}

Json to_json(const QuantizeReport& report) {
  Json ranges = Json::object();
  for (const auto& [name, range] : report.ranges) ranges[name] = range;
  return {
      {"quantized", report.quantized}, {"fp32", report.fp32}, {"images", report.images}, {"ranges", ranges}};
}

}  // namespace espalier
