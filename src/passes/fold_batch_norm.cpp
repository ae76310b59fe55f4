#include "passes/fold_batch_norm.h"

#include <cmath>

#include "base/error.h"
#include "ops/batch_norm.h"
#include "ops/conv2d.h"

namespace espalier {

namespace {

/// What a norm does to channel k outside training: y = x * factor[k] + offset[k].
struct Affine {
  std::vector<float> factor, offset;
};

Affine affine(const Graph& graph, const Graph::Item& item, const BatchNorm& norm) {
  const auto values = [&](int i) { return graph.values[item.in[i]].param.to_vector(); };
  Affine a{values(1), values(2)};
  const std::vector<float> mean = values(3), variance = values(4);
  for (size_t k = 0; k < mean.size(); ++k) {
    const double factor = a.factor[k] / std::sqrt(static_cast<double>(variance[k]) + norm.eps);
    a.factor[k] = static_cast<float>(factor);
    a.offset[k] = static_cast<float>(a.offset[k] - mean[k] * factor);
  }
  return a;
}

/// "block3/expand/w" for filters gives "block3/expand".
std::string place_of(const std::string& parameter) {
  const size_t slash = parameter.rfind('/');
  return slash == std::string::npos ? parameter : parameter.substr(0, slash);
}

std::string unused_name(const Graph& graph, const std::string& wanted) {
  std::string name = wanted;
  for (int n = 2; graph.find(name) >= 0; ++n) name = str(wanted, n);
  return name;
}

/// Gives the item's i-th input new contents; other readers of the old parameter keep it.
void replace_parameter(Graph& graph, Graph::Item& item, int i, const Tensor& contents) {
  Graph::Value& old = graph.values[item.in[i]];
  if (graph.uses(item.in[i]) == 1) {
    old.param = contents;
    return;
  }
  Graph::Value own{unused_name(graph, str(item.name, "/folded")), contents.meta(), contents, old.trainable};
  item.in[i] = static_cast<int>(graph.values.size());
  graph.values.push_back(std::move(own));
}

Tensor scaled_filters(const Tensor& w, const std::vector<float>& factor, bool depthwise) {
  std::vector<float> values = w.to_vector();
  const size_t channels = factor.size(), per_channel = values.size() / channels;
  if (depthwise)
    for (size_t i = 0; i < values.size(); i += channels)
      for (size_t c = 0; c < channels; ++c) values[i + c] *= factor[c];
  else
    for (size_t k = 0; k < channels; ++k)
      for (size_t i = 0; i < per_channel; ++i) values[k * per_channel + i] *= factor[k];
  return Tensor::from(values, w.shape(), w.device());
}

void fold(Graph& graph, Graph::Item& conv, const Graph::Item& item, const BatchNorm& norm) {
  Affine a = affine(graph, item, norm);
  const auto old = std::static_pointer_cast<const Convolution>(conv.op);
  const Tensor w = graph.values[conv.in[1]].param;
  const bool depthwise = conv.as<DepthwiseConv2d>() != nullptr;

  std::shared_ptr<Convolution> op;
  if (depthwise)
    op = std::make_shared<DepthwiseConv2d>(static_cast<const DepthwiseConv2d&>(*old));
  else
    op = std::make_shared<Conv2d>(static_cast<const Conv2d&>(*old));
  op->act = norm.act;
  op->has_bias = true;
  op->has_residual = norm.has_residual;

  replace_parameter(graph, conv, 1, scaled_filters(w, a.factor, depthwise));
  const Shape per_channel{static_cast<int>(a.offset.size())};
  if (old->has_bias) {
    const std::vector<float> bias = graph.values[conv.in[2]].param.to_vector();
    for (size_t k = 0; k < bias.size(); ++k) a.offset[k] = std::fma(bias[k], a.factor[k], a.offset[k]);
    replace_parameter(graph, conv, 2, Tensor::from(a.offset, per_channel, w.device()));
  } else {
    const Tensor bias = Tensor::from(a.offset, per_channel, w.device());
    const std::string name = unused_name(graph, str(place_of(graph.values[conv.in[1]].name), "/bias"));
    conv.in.push_back(static_cast<int>(graph.values.size()));
    graph.values.push_back({name, bias.meta(), bias, true});
  }
  if (norm.has_residual) conv.in.push_back(item.in[5]);
  conv.op = std::move(op);
  conv.out = item.out;
}

/// The convolution that a norm can be folded into, or -1.
int foldable_producer(const Graph& graph, const Graph::Item& item) {
  const int at = graph.producer(item.in[0]);
  if (at < 0) return -1;
  const auto* conv = graph.items[at].as<Convolution>();
  if (!conv || !conv->act.is_none() || conv->has_residual || graph.uses(item.in[0]) != 1) return -1;
  // Parameters only, all of them with contents: a norm whose statistics are computed stays as it is.
  for (int i = 1; i < 5; ++i)
    if (!graph.values[item.in[i]].param.has_data()) return -1;
  for (size_t i = 1; i < graph.items[at].in.size(); ++i)
    if (!graph.values[graph.items[at].in[i]].param.has_data()) return -1;
  return at;
}

}  // namespace

int fold_batch_norm(Graph& graph) {
  int folded = 0;
  for (size_t n = 0; n < graph.items.size(); ++n) {
    const Graph::Item norm = graph.items[n];
    const auto* op = norm.as<BatchNorm>();
    const int at = op ? foldable_producer(graph, norm) : -1;
    if (at < 0) continue;
    Graph::Item conv = graph.items[at];
    fold(graph, conv, norm, *op);
    // The convolution moves to the norm's place: what it adds now is made before that. Nothing between reads
    // it.
    graph.items[n] = std::move(conv);
    graph.items.erase(graph.items.begin() + at);
    --n;
    ++folded;
  }
  graph.compact();
  graph.verify();
  return folded;
}

}  // namespace espalier
