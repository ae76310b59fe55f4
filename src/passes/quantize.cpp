#include "passes/quantize.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/pattern.h"
#include "ops/add.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/quantized_convolution.h"
#include "ops/quantized_elementwise.h"
#include "ops/resize.h"
#include "passes/fold_batch_norm.h"
#include "passes/fuse.h"
#include "passes/shared_scales.h"

namespace espalier {

namespace {

/// "stem/w" to "stem/".
std::string place_of(const std::string& parameter) { return parameter.substr(0, parameter.rfind('/') + 1); }

/// What a dense, depthwise or linear op looks like from here.
struct Layer {
  bool depthwise = false, linear = false, has_bias = false, has_residual = false;
  int stride = 1;
  Padding pad;
  Activation act;
};

std::optional<Layer> layer_of(const Graph::Item& item) {
  if (const auto* op = item.as<Linear>()) return Layer{false, true, op->has_bias, false, 1, {}, op->act};
  const auto* op = dynamic_cast<const Convolution*>(item.op.get());
  if (!op) return std::nullopt;
  return Layer{item.as<DepthwiseConv2d>() != nullptr,
               false,
               op->has_bias,
               op->has_residual,
               op->stride,
               op->pad,
               op->act};
}

constexpr const char* kOutputs = "outputs";  ///< what keep_fp32 calls the layers that make the outputs

class Quantizer {
 public:
  Quantizer(const Graph& from, const std::map<std::string, float>& ranges, const QuantizeOptions& options)
      : from_(from),
        ranges_(ranges),
        options_(options),
        f32_(from.values.size(), -1),
        codes_(from.values.size(), -1),
        scale_(from.values.size()) {}

  std::vector<std::string> chosen() {
    choose_items();
    std::vector<std::string> names;
    for (size_t i = 0; i < from_.items.size(); ++i)
      if (quantized_[i] && !moves_codes(from_.items[i])) names.push_back(from_.items[i].name);
    return names;
  }

  QuantizationPlan plan() {
    run();
    QuantizationPlan plan{quantized_, std::vector<QuantizationPlan::Codes>(from_.values.size())};
    for (int v = 0; v < static_cast<int>(from_.values.size()); ++v)
      if (codes_[v] >= 0) plan.codes[v] = {scale_[v], is_unsigned(v), shared_->made(v).front()};
    return plan;
  }

  Graph run() {
    choose_items();
    shared_ = std::make_unique<SharedScales>(from_, quantized_);
    for (int v : from_.inputs) {
      to_.inputs.push_back(add_value(from_.values[v]));
      f32_[v] = to_.inputs.back();
    }
    for (size_t i = 0; i < from_.items.size(); ++i) {
      const Graph::Item& item = from_.items[i];
      const Running place(item.name);
      if (!quantized_[i])
        copy(item);
      else if (const auto layer = layer_of(item))
        convert_layer(item, *layer);
      else if (item.as<Add>())
        convert_add(item);
      else
        convert_moving(item);
    }
    for (int v : from_.outputs) to_.outputs.push_back(f32(v));
    to_.compact();
    to_.verify();
    return std::move(to_);
  }

 private:
  /// Which items run in INT8: layers and additions, and what moves values to them.
  void choose_items() {
    for (const Graph::Item& item : from_.items) {
      const auto layer = layer_of(item);
      const bool fits = layer ? from_.is_parameter(item.in[1]) &&
                                    !(layer->has_residual && layer->act.slope != 0 && layer->act.slope != 1)
                              : item.as<Add>() != nullptr;
      quantized_.push_back(fits && !kept(item));
    }
    for (int v : from_.outputs)
      if (keeps_outputs()) keep_maker(v);
    for (int i = static_cast<int>(from_.items.size()) - 1; i >= 0; --i)
      quantized_[i] = quantized_[i] || (moves_codes(from_.items[i]) && !kept(from_.items[i]) &&
                                        !leaves(from_.items[i].out[0]));
    for (const std::string& pattern : options_.keep_fp32)
      ESPALIER_CHECK(pattern == kOutputs ||
                         std::any_of(from_.items.begin(), from_.items.end(),
                                     [&](const Graph::Item& item) { return matches(pattern, item.name); }),
                     "quantize: keep_fp32 pattern '", pattern,
                     "' matches no layer; espalier info lists them");
  }

  bool kept(const Graph::Item& item) const {
    return std::any_of(options_.keep_fp32.begin(), options_.keep_fp32.end(),
                       [&](const std::string& pattern) { return matches(pattern, item.name); });
  }

  bool keeps_outputs() const {
    return std::find(options_.keep_fp32.begin(), options_.keep_fp32.end(), kOutputs) !=
           options_.keep_fp32.end();
  }

  /// Keeps the layer that makes a value in FP32, through whatever moves it.
  void keep_maker(int v) {
    const int maker = from_.producer(v);
    if (maker < 0) return;
    quantized_[maker] = false;
    if (!layer_of(from_.items[maker]))
      for (int x : from_.items[maker].in) keep_maker(x);
  }

  int add_value(const Graph::Value& value) {
    to_.values.push_back(value);
    return static_cast<int>(to_.values.size()) - 1;
  }

  int add_parameter(const std::string& name, const Tensor& contents) {
    return add_value({name, contents.meta(), contents, false});
  }

  /// A new item with one output, whose meta the op infers.
  int add_item(const std::string& name, const OpPtr& op, const std::vector<int>& in) {
    Metas metas;
    for (int v : in) metas.push_back(to_.values[v].meta);
    const int out = add_value({name, op->infer(metas)[0], {}, false});
    to_.items.push_back({name, op, in, {out}});
    return out;
  }

  bool is_unsigned(int v) const {
    bool all = !options_.paddlex_compat;
    for (int made : shared_->made(v)) all = all && never_negative(from_, made);
    return all;
  }

  float range_of(int v) const {
    const std::string& name = from_.values[v].name;
    const auto at = ranges_.find(name);
    ESPALIER_CHECK(at != ranges_.end(), "quantize: there is no range for the activation '", name,
                   "'; calibrate the same graph");
    ESPALIER_CHECK(at->second > 0 && std::isfinite(at->second), "quantize: the range of '", name, "' is ",
                   at->second, "; it must be positive");
    return at->second;
  }

  float scale_for(int v) const {
    float range = 0;
    for (int made : shared_->made(v)) range = std::max(range, range_of(made));
    return range / (is_unsigned(v) ? 255.0f : 127.0f);
  }

  /// The value as codes; a quantize is added where it exists in FP32 only.
  int codes(int v) {
    if (codes_[v] >= 0) return codes_[v];
    auto op = std::make_shared<Quantize>();
    op->scale = scale_[v] = scale_for(v);
    op->out = is_unsigned(v) ? "u8" : "s8";
    codes_[v] = add_item(from_.values[v].name + "/quantize", op, {f32_[v]});
    return codes_[v];
  }

  /// The value in FP32; a dequantize is added where it exists as codes only.
  int f32(int v) {
    if (f32_[v] >= 0) return f32_[v];
    if (from_.is_parameter(v)) return f32_[v] = add_value(from_.values[v]);
    auto op = std::make_shared<Dequantize>();
    op->scale = scale_[v];
    return f32_[v] = add_item(from_.values[v].name + "/dequantize", op, {codes_[v]});
  }

  /// The value in the form that is there.
  int any(int v) { return codes_[v] >= 0 ? codes_[v] : f32(v); }

  bool moves_extents(const Graph::Item& item, size_t input) const { return input > 0 && item.as<Resize>(); }

  void copy(const Graph::Item& item) {
    Graph::Item fresh{item.name, item.op, {}, {}};
    for (size_t i = 0; i < item.in.size(); ++i)
      fresh.in.push_back(moves_extents(item, i) ? any(item.in[i]) : f32(item.in[i]));
    for (int v : item.out) fresh.out.push_back(f32_[v] = add_value(from_.values[v]));
    to_.items.push_back(std::move(fresh));
  }

  /// Nobody wants the codes of this value: it leaves the INT8 region here.
  bool leaves(int v) const {
    for (int reader : from_.consumers(v))
      if (quantized_[reader]) return false;
    return true;
  }

  void convert_layer(const Graph::Item& item, const Layer& layer) {
    const int x = codes(item.in[0]), out = item.out[0];
    const float in_scale = scale_[item.in[0]];
    std::shared_ptr<QuantizedConvolution> op;
    if (layer.linear)
      op = std::make_shared<QuantizedLinear>();
    else if (layer.depthwise)
      op = std::make_shared<QuantizedDepthwiseConv2d>();
    else
      op = std::make_shared<QuantizedConv2d>();
    op->stride = layer.stride;
    op->pad = layer.pad;
    op->in_scale = in_scale;
    // Without an activation the sums need no codes of their own on the way out.
    const bool plain = leaves(out) && layer.act.is_none() && !layer.has_residual;
    if (plain)
      op->out = "f32";
    else
      set_codes(*op, out, layer.act);
    std::vector<int> in = {x};
    add_filters(item, layer, *op, in);
    if (layer.has_residual) {
      const int residual = item.in.back();
      in.push_back(codes(residual));
      op->has_residual = true;
      op->residual_factor = scale_[residual] / op->out_scale;
    }
    (plain ? f32_ : codes_)[out] = add_item(item.name, op, in);
  }

  void set_codes(QuantizedConvolution& op, int out, Activation act) {
    const bool is_u8 = is_unsigned(out);
    op.out = is_u8 ? "u8" : "s8";
    op.out_scale = scale_[out] = scale_for(out);
    const int top = is_u8 ? 255 : 127;
    op.low = is_u8 || act.slope == 0 ? 0 : -127;
    op.high = act.cap == Activation::kNoCap
                  ? top
                  : static_cast<int>(
                        std::min<float>(static_cast<float>(top), std::nearbyint(act.cap / op.out_scale)));
    op.slope = act.slope == 0 ? 1.0f : act.slope;  // a ReLU is the lower limit
  }

  /// s8 filters, s32 bias and the multiplier of each channel.
  void add_filters(const Graph::Item& item, const Layer& layer, const QuantizedConvolution& op,
                   std::vector<int>& in) {
    const Graph::Value& w = from_.values[item.in[1]];
    const std::vector<float> weights = w.param.to_vector();
    const int K = layer.depthwise ? w.meta.shape.back() : w.meta.shape[0];
    std::vector<float> bias =
        layer.has_bias ? from_.values[item.in[2]].param.to_vector() : std::vector<float>(K, 0.0f);
    const auto learned = options_.filter_scales.find(w.name);
    std::vector<double> scale = learned != options_.filter_scales.end()
                                    ? learned->second
                                    : filter_scales(w.param, layer.depthwise, options_.per_channel);
    // A filter near zero must not blow its bias up past 32 bits.
    constexpr double kLargestBias = 1 << 30;
    for (int k = 0; k < K; ++k)
      scale[k] = std::max({scale[k], std::abs(double{bias[k]}) / (op.in_scale * kLargestBias), 1e-30});

    const Tensor codes(w.meta.shape, Device::kCpu, DType::kS8), sums({K}, Device::kCpu, DType::kS32),
        multiplier({K});
    const auto rounding = options_.rounding.find(w.name);
    for (size_t i = 0; i < weights.size(); ++i) {
      const int k = filter_channel(w.meta.shape, layer.depthwise, static_cast<int64_t>(i));
      const int shift = rounding == options_.rounding.end() ? 0 : rounding->second.s8()[i];
      codes.s8()[i] =
          static_cast<int8_t>(std::clamp(std::nearbyint(weights[i] / scale[k]) + shift, -127.0, 127.0));
    }
    if (const auto mean = options_.means.find(from_.values[item.in[0]].name); mean != options_.means.end()) {
      // A filter's last axis is its input channel; a depthwise one has its own.
      const int64_t C = w.meta.shape.back();
      for (size_t i = 0; i < weights.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        const int k = filter_channel(w.meta.shape, layer.depthwise, at);
        bias[k] += static_cast<float>((weights[i] - codes.s8()[i] * scale[k]) * mean->second.at(at % C));
      }
    }
    const double out_scale = op.out == "f32" ? 1.0 : op.out_scale;
    for (int k = 0; k < K; ++k) {
      sums.s32()[k] = static_cast<int32_t>(std::nearbyint(bias[k] / (op.in_scale * scale[k])));
      multiplier.f32()[k] = static_cast<float>(op.in_scale * scale[k] / out_scale);
    }
    in.push_back(add_parameter(w.name, codes));
    in.push_back(add_parameter(place_of(w.name) + "bias", sums));
    in.push_back(add_parameter(place_of(w.name) + "multiplier", multiplier));
  }

  void convert_add(const Graph::Item& item) {
    const int a = codes(item.in[0]), b = codes(item.in[1]), out = item.out[0];
    auto op = std::make_shared<QuantizedAdd>();
    scale_[out] = scale_for(out);
    op->a_factor = scale_[item.in[0]] / scale_[out];
    op->b_factor = scale_[item.in[1]] / scale_[out];
    if (is_unsigned(out)) {
      op->out = "u8";
      op->low = 0;
      op->high = 255;
    }
    codes_[out] = add_item(item.name, op, {a, b});
  }

  void convert_moving(const Graph::Item& item) {
    const int out = item.out[0];
    std::vector<int> in;
    for (size_t i = 0; i < item.in.size(); ++i)
      in.push_back(moves_extents(item, i) ? any(item.in[i]) : codes(item.in[i]));
    scale_[out] = scale_[item.in[0]];
    codes_[out] = add_item(item.name, item.op->on_codes(), in);
  }

  const Graph& from_;
  const std::map<std::string, float>& ranges_;
  const QuantizeOptions& options_;
  Graph to_;
  std::vector<bool> quantized_;   // per item of from_
  std::vector<int> f32_, codes_;  // per value of from_: its FP32 and its INT8 form in to_, or -1
  std::vector<float> scale_;      // per value of from_: of its codes
  std::unique_ptr<SharedScales> shared_;
};

}  // namespace

std::vector<double> filter_scales(const Tensor& w, bool depthwise, bool per_channel) {
  const std::vector<float> weights = w.to_vector();
  std::vector<double> scale(static_cast<size_t>(depthwise ? w.shape().back() : w.shape()[0]), 0.0);
  for (size_t i = 0; i < weights.size(); ++i) {
    double& s = scale[filter_channel(w.shape(), depthwise, static_cast<int64_t>(i))];
    s = std::max(s, std::abs(double{weights[i]}) / 127);
  }
  if (!per_channel) std::fill(scale.begin(), scale.end(), *std::max_element(scale.begin(), scale.end()));
  return scale;
}

int filter_channel(const Shape& w, bool depthwise, int64_t element) {
  return static_cast<int>(depthwise ? element % w.back() : element / (w.elements() / w[0]));
}

std::vector<std::string> quantizable_items(const Graph& prepared, const QuantizeOptions& options) {
  const std::map<std::string, float> none;
  return Quantizer(prepared, none, options).chosen();
}

QuantizationPlan plan_quantization(const Graph& prepared, const std::map<std::string, float>& ranges,
                                   const QuantizeOptions& options) {
  return Quantizer(prepared, ranges, options).plan();
}

bool never_negative(const Graph& graph, int value) {
  const int maker = graph.producer(value);
  if (maker < 0) return false;
  const Graph::Item& item = graph.items[maker];
  std::vector<bool> inputs(item.in.size(), false);
  // Most answers need no look at what comes before.
  if (item.out[0] != value || !item.op->never_negative(std::vector<bool>(inputs.size(), true))) return false;
  if (item.op->never_negative(inputs)) return true;
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = never_negative(graph, item.in[i]);
  return item.op->never_negative(inputs);
}

Graph prepare_for_quantization(const Graph& graph) {
  Graph g = graph.clone();
  fold_batch_norm(g);
  fuse(g);
  return g;
}

Graph quantize(const Graph& prepared, const std::map<std::string, float>& ranges,
               const QuantizeOptions& options) {
  return Quantizer(prepared, ranges, options).run();
}

}  // namespace espalier
