#include "compress/layer_errors.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "runtime/session.h"

namespace espalier {

namespace {

bool holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Image i of a batch.
Tensor image_of(const Tensor& images, int i) {
  Shape shape = images.shape();
  const int64_t size = images.elements() / shape[0];
  shape[0] = 1;
  const Tensor host = images.to(Device::kCpu);
  return Tensor::from(std::span<const float>(host.f32() + i * size, static_cast<size_t>(size)), shape);
}

/// The same choice of layers with every name spelt out, so that it does not depend on the graph's outputs.
QuantizeOptions spelt_out(const Int8Form& form) {
  QuantizeOptions options = form.options;
  std::erase(options.keep_fp32, "outputs");
  const std::vector<std::string> in_int8 = quantizable_items(form.prepared, form.options);
  for (const std::string& name : quantizable_items(form.prepared))
    if (!holds(in_int8, name)) options.keep_fp32.push_back(name);
  return options;
}

struct Power {
  double signal = 0, noise = 0;

  void add(const Tensor& x, const Tensor& y) {
    const Tensor a = x.to(Device::kCpu), b = y.to(Device::kCpu);
    for (int64_t i = 0; i < a.elements(); ++i) {
      const double value = a.f32()[i], error = value - b.f32()[i];
      signal += value * value;
      noise += error * error;
    }
  }
  double decibels() const {
    if (noise <= 0 || signal <= 0) return noise <= 0 ? kLeastNoise : 0;
    return std::min(kLeastNoise, 10 * std::log10(signal / noise));
  }
};

}  // namespace

std::vector<LayerError> layer_errors(const Int8Form& form, BatchSource& source, int64_t images) {
  const std::vector<std::string> names = quantizable_items(form.prepared),
                                 in_int8 = quantizable_items(form.prepared, form.options);
  // Both graphs give out every layer's result; the INT8 one dequantised.
  Int8Form seen{form.prepared, form.ranges, spelt_out(form)};
  seen.prepared.outputs.clear();
  std::vector<LayerError> layers;
  for (const Graph::Item& item : form.prepared.items)
    if (holds(names, item.name)) {
      layers.push_back({.layer = item.name, .op = item.op->name(), .kept_fp32 = !holds(in_int8, item.name)});
      seen.prepared.outputs.push_back(item.out[0]);
    }
  ESPALIER_CHECK(!layers.empty(), "layer errors: the model has no layer with an INT8 form");
  Session fp32(seen.prepared, {.kept_plans = 1}), int8(seen.quantised(), {.kept_plans = 1});
  std::vector<Power> powers(layers.size());
  Batch batch;
  int64_t done = 0;
  source.start();
  while (done < images && source.next(batch)) {
    const Tensor pictures = network_images(batch, Device::kCpu);
    for (int i = 0; i < batch.size() && done < images; ++i, ++done) {
      if (interrupt_requested()) throw Interrupted("interrupted while comparing layers");
      const Tensor image = image_of(pictures, i);
      const Tensors &x = fp32.run({image}), &y = int8.run({image});
      for (size_t l = 0; l < layers.size(); ++l) powers[l].add(x[l], y[l]);
    }
  }
  ESPALIER_CHECK(done > 0, "layer errors: the data set gave no pictures; at least one is needed");
  for (size_t l = 0; l < layers.size(); ++l) layers[l].sqnr_db = powers[l].decibels();
  return layers;
}

void measure_each_layer(const Int8Form& form, Measurements& measurements, std::vector<LayerError>& layers) {
  const std::vector<std::string> names = quantizable_items(form.prepared);
  for (LayerError& layer : layers) {
    if (layer.kept_fp32) continue;
    Int8Form alone = form;
    alone.options = spelt_out(form);
    for (const std::string& name : names)
      if (name != layer.layer && !holds(alone.options.keep_fp32, name))
        alone.options.keep_fp32.push_back(name);
    const Measurements::Point point = measurements.of(alone.quantised(), "only " + layer.layer + " in INT8");
    layer.metric_only_this = point.metric;
    layer.loss_only_this = point.loss;
  }
}

std::vector<std::string> worst_first(const std::vector<LayerError>& layers) {
  std::vector<const LayerError*> order;
  for (const LayerError& layer : layers)
    if (!layer.kept_fp32) order.push_back(&layer);
  std::stable_sort(order.begin(), order.end(), [](const LayerError* a, const LayerError* b) {
    if (a->metric_only_this != b->metric_only_this) return a->metric_only_this < b->metric_only_this;
    return a->loss_only_this > b->loss_only_this;
  });
  std::vector<std::string> names;
  for (const LayerError* layer : order) names.push_back(layer->layer);
  return names;
}

Json layer_errors_json(const std::vector<LayerError>& layers, const std::string& metric_name,
                       std::optional<double> metric_fp32, std::optional<double> metric_int8, int64_t images) {
  const auto or_null = [](const std::optional<double>& value) {
    return value ? Json(*value) : Json(nullptr);
  };
  Json rows = Json::array();
  for (const LayerError& layer : layers)
    rows.push_back({{"layer", layer.layer},
                    {"op", layer.op},
                    {"sqnr_db", layer.sqnr_db},
                    {"metric_only_this", or_null(layer.metric_only_this)},
                    {"kept_fp32", layer.kept_fp32}});
  return {{"format", "espalier-layer-errors"},
          {"version", 1},
          {"metric_name", metric_name},
          {"metric_fp32", or_null(metric_fp32)},
          {"metric_int8", or_null(metric_int8)},
          {"images", images},
          {"layers", rows}};
}

std::string layer_errors_table(const std::vector<LayerError>& layers, std::optional<double> metric_fp32,
                               size_t most) {
  std::vector<LayerError> order = layers;
  std::stable_sort(order.begin(), order.end(),
                   [](const LayerError& a, const LayerError& b) { return a.sqnr_db < b.sqnr_db; });
  if (order.size() > most) order.resize(most);
  size_t width = 5;
  for (const LayerError& layer : order) width = std::max(width, layer.layer.size());
  std::string text = fmt::format("{:<{}}  SQNR dB  loss alone\n", "layer", width);
  for (const LayerError& layer : order) {
    const std::string alone = layer.metric_only_this && metric_fp32
                                  ? fmt::format("{:.2f} %", 100 * (*metric_fp32 - *layer.metric_only_this))
                                  : "-";
    text += fmt::format("{:<{}}  {:7.1f}  {:>10}{}\n", layer.layer, width, layer.sqnr_db, alone,
                        layer.kept_fp32 ? "  FP32" : "");
  }
  return text;
}

}  // namespace espalier
