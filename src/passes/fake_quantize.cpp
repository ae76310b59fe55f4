#include "passes/fake_quantize.h"

#include <cmath>
#include <memory>

#include "base/error.h"
#include "ops/conv2d.h"
#include "ops/fake_quantize.h"
#include "passes/shared_scales.h"

namespace espalier {

namespace {

constexpr float kUnsignedTop = 255, kSignedTop = 127;

std::string scale_name(const std::string& item) { return item + "/scale"; }
std::string codes_name(const std::string& value) { return value + "/codes"; }
std::string filters_name(const std::string& item) { return item + "/filters"; }

/// The place of an INT8 layer's filters and bias among its inputs; additions and what moves codes have none.
bool has_filters(const Graph& graph, const Graph::Item& item) {
  return item.in.size() > 1 && graph.is_parameter(item.in[1]);
}

class Faker {
 public:
  Faker(const Graph& from, const QuantizationPlan& plan, const QuantizeOptions& options)
      : plan_(plan), options_(options), to_(from.clone()), items_(std::move(to_.items)) {
    to_.items.clear();
    codes_.assign(to_.values.size(), -1);
    for (Graph::Value& value : to_.values) value.trainable = false;
  }

  Graph run() {
    for (const int v : to_.inputs) round_value(v);
    for (size_t i = 0; i < items_.size(); ++i) {
      Graph::Item item = items_[i];
      const bool int8 = plan_.int8[i];
      for (int& v : item.in) {
        // Who reads a value that is made as codes reads it rounded; what is made in FP32 is rounded for INT8
        // only.
        if (codes_[v] >= 0 && (int8 || made_as_codes_[v])) v = codes_[v];
      }
      if (has_filters(to_, item)) train_parameters(item);
      if (int8 && has_filters(to_, item)) item.in[1] = round_filters(item);
      const int out = item.out[0];
      to_.items.push_back(std::move(item));
      made_as_codes_[out] = int8;
      round_value(out);
    }
    for (int& v : to_.outputs)
      if (codes_[v] >= 0 && made_as_codes_[v]) v = codes_[v];
    to_.verify();
    return std::move(to_);
  }

 private:
  int add_value(const std::string& name, const Meta& meta, const Tensor& param) {
    to_.values.push_back({name, meta, param, param.defined()});
    return static_cast<int>(to_.values.size()) - 1;
  }

  int add_rounding(const std::string& name, int value, int scale, float low, float high, int axis) {
    auto op = std::make_shared<FakeQuantize>();
    op->low = low;
    op->high = high;
    op->axis = axis;
    const int out = add_value(name, to_.values[value].meta, {});
    to_.items.push_back({name, std::move(op), {value, scale}, {out}});
    return out;
  }

  void round_value(int v) {
    const QuantizationPlan::Codes codes = plan_.codes[v];
    if (codes.scale == 0) return;
    auto [scale, is_new] = scales_.try_emplace(codes.shares, -1);
    if (is_new)
      scale->second = add_value(scale_name(codes_name(to_.values[codes.shares].name)), {{1}, DType::kF32},
                                Tensor::full({1}, codes.scale));
    codes_[v] =
        add_rounding(codes_name(to_.values[v].name), v, scale->second, codes.is_unsigned ? 0 : -kSignedTop,
                     codes.is_unsigned ? kUnsignedTop : kSignedTop, -1);
  }

  void train_parameters(const Graph::Item& item) {
    to_.values[item.in[1]].trainable = true;
    if (item.in.size() > 2 && to_.is_parameter(item.in[2])) to_.values[item.in[2]].trainable = true;
  }

  int round_filters(const Graph::Item& item) {
    const Tensor& w = to_.values[item.in[1]].param;
    const bool depthwise = item.as<DepthwiseConv2d>();
    const std::vector<double> scales = filter_scales(w, depthwise, options_.per_channel);
    std::vector<float> values(scales.begin(), scales.end());
    if (!options_.per_channel) values.resize(1);
    for (float& scale : values) scale = std::max(scale, 1e-12f);  // filters that are all zero
    const int count = static_cast<int>(values.size());
    const int scale =
        add_value(scale_name(filters_name(item.name)), {{count}, DType::kF32}, Tensor::from(values, {count}));
    const int axis = !options_.per_channel ? -1 : depthwise ? w.shape().axes() - 1 : 0;
    return add_rounding(filters_name(item.name), item.in[1], scale, -kSignedTop, kSignedTop, axis);
  }

  const QuantizationPlan& plan_;
  const QuantizeOptions& options_;
  Graph to_;
  std::vector<Graph::Item> items_;     ///< of the prepared graph
  std::vector<int> codes_;             ///< per value of the prepared graph: the rounded one, or -1
  std::map<int, bool> made_as_codes_;  ///< by value: an INT8 item makes it
  std::map<int, int> scales_;          ///< what shares a scale -> the parameter
};

std::vector<double> learned(const Graph& trained, const std::string& name) {
  const int v = trained.find(name);
  ESPALIER_CHECK(v >= 0, "fake quantisation: the trained graph has no ", name);
  std::vector<double> values;
  for (const float s : trained.values[v].param.to_vector())
    values.push_back(std::max(std::abs(double{s}), 1e-12));
  return values;
}

}  // namespace

Graph add_fake_quantization(const Graph& prepared, const std::map<std::string, float>& ranges,
                            const QuantizeOptions& options) {
  return Faker(prepared, plan_quantization(prepared, ranges, options), options).run();
}

void take_fake_quantization(const Graph& trained, Graph& prepared, std::map<std::string, float>& ranges,
                            QuantizeOptions& options) {
  const QuantizationPlan plan = plan_quantization(prepared, ranges, options);
  for (size_t v = 0; v < prepared.values.size(); ++v) {
    Graph::Value& value = prepared.values[v];
    if (value.param.defined()) {
      value.param = trained.values[trained.find(value.name)].param.to(Device::kCpu).clone();
      continue;
    }
    const QuantizationPlan::Codes& codes = plan.codes[v];
    if (codes.scale == 0) continue;
    const double scale = learned(trained, scale_name(codes_name(prepared.values[codes.shares].name)))[0];
    ranges[value.name] = static_cast<float>(scale * (codes.is_unsigned ? kUnsignedTop : kSignedTop));
  }
  for (size_t i = 0; i < prepared.items.size(); ++i) {
    const Graph::Item& item = prepared.items[i];
    if (!plan.int8[i] || !has_filters(prepared, item)) continue;
    const Shape& w = prepared.values[item.in[1]].meta.shape;
    std::vector<double> scales = learned(trained, scale_name(filters_name(item.name)));
    scales.resize(static_cast<size_t>(item.as<DepthwiseConv2d>() ? w.back() : w[0]), scales[0]);
    options.filter_scales[prepared.values[item.in[1]].name] = std::move(scales);
  }
  options.means.clear();
  options.rounding.clear();
}

}  // namespace espalier
