#include "compress/rounding.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"
#include "compress/watch.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "passes/quantize.h"

namespace espalier {

namespace {

constexpr int kBlock = 1024;  // filter elements whose joint effect is known
constexpr int kSweeps = 20;   // through the weights of a filter; it ends earlier when none moves

/// Second moments of some elements of the input, as a filter meets them.
struct Moments {
  int first = 0, size = 0;      ///< elements of the row
  std::vector<float> products;  ///< [size, size]
  std::vector<double> sums;
  bool finite = true;  ///< set by finish()

  void allocate() {
    products.assign(static_cast<size_t>(size) * size, 0.0f);
    sums.assign(static_cast<size_t>(size), 0.0);
  }
  void add(const std::vector<float>& rows, int64_t count, int64_t width) {
#pragma omp parallel for schedule(dynamic, 8)
    for (int i = 0; i < size; ++i) {
      float* out = products.data() + static_cast<size_t>(i) * size;
      for (int64_t r = 0; r < count; ++r) {
        const float* row = rows.data() + r * width + first;
        const float x = row[i];
        if (x == 0) continue;
        sums[i] += x;
        for (int j = 0; j < size; ++j) out[j] += x * row[j];
      }
    }
  }
  /// Their mean; without the mean's own part if `centred`. A little more on the diagonal, so that what the
  /// pictures happened not to show does not count as impossible.
  void finish(int64_t rows, bool centred) {
    const double n = static_cast<double>(rows);
    double trace = 0;
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j) {
        float& at = products[static_cast<size_t>(i) * size + j];
        at = static_cast<float>(at / n - (centred ? sums[i] / n * (sums[j] / n) : 0));
        if (i == j) trace += at;
      }
    for (int i = 0; i < size; ++i)
      products[static_cast<size_t>(i) * size + i] += static_cast<float>(0.01 * trace / size);
    finite = std::isfinite(trace);
  }
};

struct Layer {
  int item = -1, input = -1;
  bool depthwise = false;
  int R = 1, S = 1, stride = 1;
  Padding pad;
  int64_t width = 0;  ///< elements of a row: R*S*C
  std::vector<Moments> blocks;
  int64_t rows = 0;
  uint64_t images = 0;

  int64_t bytes() const {
    int64_t sum = 0;
    for (const Moments& block : blocks) sum += int64_t{block.size} * block.size * 4;
    return sum;
  }
};

/// Rows of a picture as filters meet them: dense [R,S,C], depthwise [C,R,S].
void gather(const Layer& layer, const Tensor& x, int image, int most, std::vector<float>& rows,
            int64_t& count) {
  const Shape& s = x.shape();
  const bool flat = s.axes() == 2;
  const int H = flat ? 1 : s[1], W = flat ? 1 : s[2], C = s.back();
  const int P = (H + layer.pad.top + layer.pad.bottom - layer.R) / layer.stride + 1,
            Q = (W + layer.pad.left + layer.pad.right - layer.S) / layer.stride + 1;
  const int64_t places = int64_t{P} * Q, taken = std::min<int64_t>(places, most);
  for (int64_t t = 0; t < taken; ++t) {
    // Spread evenly, and shifted from picture to picture.
    const int64_t place = (t * places / taken + static_cast<int64_t>(layer.images) * 7) % places;
    const int p = static_cast<int>(place / Q), q = static_cast<int>(place % Q);
    float* row = rows.data() + count++ * layer.width;
    for (int r = 0; r < layer.R; ++r)
      for (int c = 0; c < layer.S; ++c) {
        const int h = p * layer.stride - layer.pad.top + r, w = q * layer.stride - layer.pad.left + c;
        const bool inside = h >= 0 && h < H && w >= 0 && w < W;
        const float* from = x.f32() + ((int64_t{image} * H + h) * W + w) * C;
        for (int k = 0; k < C; ++k) {
          const int64_t to = layer.depthwise ? int64_t{k} * layer.R * layer.S + r * layer.S + c
                                             : (int64_t{r} * layer.S + c) * C + k;
          row[to] = inside ? from[k] : 0.0f;
        }
      }
  }
}

void look(Layer& layer, const Tensor& x, int most, std::vector<float>& rows) {
  const int N = x.shape()[0];
  rows.resize(static_cast<size_t>(int64_t{N} * most * layer.width));
  int64_t count = 0;
  for (int n = 0; n < N; ++n, ++layer.images) gather(layer, x, n, most, rows, count);
  for (Moments& block : layer.blocks) block.add(rows, count, layer.width);
  layer.rows += count;
}

/// One filter's elements of one block: `weight` in steps of its scale, `shift` what is added to the nearest
/// code. Returns the error before and after, in squared steps.
std::pair<double, double> descend(const Moments& m, const std::vector<double>& weight,
                                  std::vector<int>& shift) {
  const int D = m.size;
  std::vector<double> error(weight.size()), pull(weight.size(), 0.0);
  for (int i = 0; i < D; ++i) error[i] = std::nearbyint(weight[i]) - weight[i];
  for (int i = 0; i < D; ++i)
    for (int j = 0; j < D; ++j) pull[j] += error[i] * m.products[static_cast<size_t>(i) * D + j];
  const auto total = [&] {
    double sum = 0;
    for (int i = 0; i < D; ++i) sum += error[i] * pull[i];
    return sum;
  };
  const double before = total();
  bool moves = true;
  for (int sweep = 0; sweep < kSweeps && moves; ++sweep) {
    moves = false;
    for (int i = 0; i < D; ++i) {
      // The nearest code, or the one on the other side of the weight.
      const double nearest = std::nearbyint(weight[i]);
      const int other = weight[i] > nearest ? 1 : -1, to = shift[i] == 0 ? other : 0;
      if (std::abs(nearest + to) > 127) continue;
      const double step = to - shift[i], own = m.products[static_cast<size_t>(i) * D + i];
      if (step * (2 * pull[i] + step * own) >= -1e-12 * own) continue;
      shift[i] = to;
      error[i] += step;
      for (int j = 0; j < D; ++j) pull[j] += step * m.products[static_cast<size_t>(i) * D + j];
      moves = true;
    }
  }
  return {before, total()};
}

/// The shifts of a layer whose moments are finished.
Tensor round(const Layer& layer, const Tensor& w, bool per_channel, RoundedLayer& report) {
  const std::vector<float> weights = w.to_vector();
  const std::vector<double> scales = filter_scales(w, layer.depthwise, per_channel);
  const int K = static_cast<int>(scales.size());
  const Tensor shifts = Tensor::zeros(w.shape(), Device::kCpu, DType::kS8);
  std::vector<RoundedLayer> filters(scales.size());
#pragma omp parallel for schedule(dynamic)
  for (int k = 0; k < K; ++k) {
    const double scale = std::max(scales[k], 1e-30);
    for (size_t b = 0; b < layer.blocks.size(); ++b) {
      const Moments& block = layer.blocks[b];
      if ((layer.depthwise && static_cast<int>(b) != k) || !block.finite) continue;
      const auto index = [&](int i) {
        return layer.depthwise ? int64_t{i} * K + k : k * layer.width + block.first + i;
      };
      std::vector<double> weight(static_cast<size_t>(block.size));
      std::vector<int> shift(weight.size(), 0);
      for (int i = 0; i < block.size; ++i) weight[i] = weights[index(i)] / scale;
      const auto [before, after] = descend(block, weight, shift);
      filters[k].error_before += scale * scale * before / K;
      filters[k].error_after += scale * scale * after / K;
      for (int i = 0; i < block.size; ++i) {
        shifts.s8()[index(i)] = static_cast<int8_t>(shift[i]);
        filters[k].moved += shift[i] != 0;
      }
    }
  }
  for (const RoundedLayer& filter : filters) {
    report.error_before += filter.error_before;
    report.error_after += filter.error_after;
    report.moved += filter.moved;
  }
  return shifts;
}

std::vector<Layer> layers_of(const Graph& g) {
  std::vector<Layer> layers;
  for (size_t i = 0; i < g.items.size(); ++i) {
    const Graph::Item& item = g.items[i];
    const auto* conv = dynamic_cast<const Convolution*>(item.op.get());
    if ((!conv && !item.as<Linear>()) || !g.is_parameter(item.in[1])) continue;
    const Shape& w = g.values[item.in[1]].meta.shape;
    Layer layer{.item = static_cast<int>(i), .input = item.in[0]};
    if (conv) {
      layer.depthwise = item.as<DepthwiseConv2d>() != nullptr;
      layer.R = w[layer.depthwise ? 0 : 1];
      layer.S = w[layer.depthwise ? 1 : 2];
      layer.stride = conv->stride;
      layer.pad = conv->pad;
    }
    const int window = layer.R * layer.S;
    layer.width = int64_t{window} * w.back();
    const int step = layer.depthwise ? window : kBlock;
    for (int64_t first = 0; first < layer.width; first += step) {
      Moments block;
      block.first = static_cast<int>(first);
      block.size = static_cast<int>(std::min<int64_t>(step, layer.width - first));
      layer.blocks.push_back(std::move(block));
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace

std::map<std::string, Tensor> choose_rounding(const Graph& prepared, BatchSource& source,
                                              const RoundingOptions& options,
                                              std::map<std::string, RoundedLayer>* report) {
  ESPALIER_CHECK(options.rows_per_image >= 1, "rounding: rows_per_image is ", options.rows_per_image,
                 "; it must be at least 1");
  std::map<std::string, Tensor> rounding;
  std::vector<Layer> layers = layers_of(prepared);
  for (size_t first = 0, last; first < layers.size(); first = last) {
    // As many layers as fit, one at least.
    int64_t bytes = 0;
    for (last = first;
         last < layers.size() && (last == first || bytes + layers[last].bytes() <= options.memory); ++last)
      bytes += layers[last].bytes();
    for (size_t l = first; l < last; ++l)
      for (Moments& block : layers[l].blocks) block.allocate();
    std::vector<float> rows;
    Batch batch;
    int64_t batches = 0;
    source.start(0);
    while ((options.batches < 0 || batches < options.batches) && source.next(batch)) {
      if (interrupt_requested()) throw Interrupted("interrupted while looking at what layers are fed");
      ++batches;
      watch(prepared, network_images(batch, prepared.device()), [&](int v, const Tensor& x) {
        for (size_t l = first; l < last; ++l)
          if (layers[l].input == v) look(layers[l], x.to(Device::kCpu), options.rows_per_image, rows);
      });
    }
    ESPALIER_CHECK(batches > 0, "rounding: the data set gave no pictures; at least one batch is needed");
    for (size_t l = first; l < last; ++l) {
      Layer& layer = layers[l];
      for (Moments& block : layer.blocks) block.finish(layer.rows, options.bias_correction);
      const Graph::Value& w = prepared.values[prepared.items[layer.item].in[1]];
      if (std::any_of(layer.blocks.begin(), layer.blocks.end(), [](const Moments& m) { return !m.finite; }))
        spdlog::warn(
            "rounding: {}: is fed values too large to be squared; the filters that read them are "
            "rounded to the nearest",
            w.name);
      RoundedLayer came_to;
      rounding[w.name] = round(layer, w.param.to(Device::kCpu), options.per_channel, came_to);
      if (report) (*report)[w.name] = came_to;
      layer.blocks.clear();
    }
  }
  return rounding;
}

}  // namespace espalier
