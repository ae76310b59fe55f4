#include "passes/spread_batch_norms.h"

#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "ops/normed_conv.h"

namespace espalier {

namespace {

bool is_plain(const Convolution& conv) { return !conv.has_bias && !conv.has_residual && conv.act.is_none(); }

/// The op as a normed convolution, if it is one already or can become one; null otherwise.
std::shared_ptr<NormedConvolution> normed_form(const OpPtr& op) {
  const auto from = [](const Convolution& conv, auto normed) -> std::shared_ptr<NormedConvolution> {
    if (!is_plain(conv)) return nullptr;
    normed->stride = conv.stride;
    normed->pad = conv.pad;
    return normed;
  };
  if (const auto* conv = dynamic_cast<const Conv2d*>(op.get()))
    return from(*conv, std::make_shared<NormedConv2d>());
  if (const auto* conv = dynamic_cast<const DepthwiseConv2d*>(op.get()))
    return from(*conv, std::make_shared<NormedDepthwiseConv2d>());
  if (const auto* conv = dynamic_cast<const NormedConv2d*>(op.get()))
    return std::make_shared<NormedConv2d>(*conv);
  if (const auto* conv = dynamic_cast<const NormedDepthwiseConv2d*>(op.get()))
    return std::make_shared<NormedDepthwiseConv2d>(*conv);
  return nullptr;
}

/// True if reading each input once, normalising on the way, is cheap: every element meets few windows, or the
/// kernel keeps what it normalised.
bool can_normalise(const Graph& g, const Graph::Item& item) {
  if (item.as<DepthwiseConv2d>() || item.as<NormedDepthwiseConv2d>()) return true;
  const Shape& w = g.values[item.in[1]].meta.shape;
  const auto pointwise = [&](const auto& conv) {
    return w[1] == 1 && w[2] == 1 && conv.stride == 1 && conv.pad == Padding{};
  };
  if (const auto* conv = item.as<Conv2d>()) return pointwise(*conv);
  if (const auto* conv = item.as<NormedConv2d>()) return pointwise(*conv);
  return false;
}

/// Makes the item that produces the norm's input measure it; returns the value of its moments, -1 if it
/// cannot.
int measure(Graph& g, int x) {
  const int at = g.producer(x);
  if (at < 0 || g.uses(x) != 1) return -1;
  const std::shared_ptr<NormedConvolution> op = normed_form(g.items[at].op);
  if (!op || op->measures) return -1;
  op->measures = true;
  const int moments = static_cast<int>(g.values.size());
  g.values.push_back(
      {.name = g.values[x].name + "/moments", .meta = {Shape{2, g.values[x].meta.shape.back()}}});
  g.items[at].op = op;
  g.items[at].out.push_back(moments);
  return moments;
}

/// Hands the norm to the only reader of its output; false if that cannot take it.
bool hand_over(Graph& g, const Graph::Item& norm, int moments) {
  const auto& attributes = *norm.as<BatchNorm>();
  const std::vector<int> readers = g.consumers(norm.out[0]);
  if (attributes.has_residual || readers.size() != 1 || g.uses(norm.out[0]) != 1) return false;
  Graph::Item& reader = g.items[readers[0]];
  const std::shared_ptr<NormedConvolution> op = normed_form(reader.op);
  if (!op || op->has_norm || !can_normalise(g, reader) || reader.in[0] != norm.out[0]) return false;
  op->has_norm = true;
  op->norm = {attributes.eps, attributes.momentum, attributes.act};
  reader.op = op;
  reader.in = {norm.in[0], reader.in[1], moments, norm.in[1], norm.in[2], norm.in[3], norm.in[4]};
  return true;
}

}  // namespace

int spread_batch_norms(Graph& g, Device device) {
  int spread = 0;
  for (int n = 0; n < static_cast<int>(g.items.size()); ++n) {
    const auto* norm = g.items[n].as<BatchNorm>();
    // Which piece of the activation a value is on has to be seen from the output.
    if (!norm || norm->act.slope < 0 || norm->act.cap <= 0) continue;
    const int moments = measure(g, g.items[n].in[0]);
    if (moments < 0) continue;
    ++spread;
    if (hand_over(g, Graph::Item(g.items[n]), moments)) {
      g.items.erase(g.items.begin() + n--);
      continue;
    }
    auto op = std::make_shared<Normalize>();
    op->norm = {norm->eps, norm->momentum, norm->act};
    op->has_residual = norm->has_residual;
    op->whole = device != Device::kCpu && g.items[g.producer(g.items[n].in[0])].as<NormedConv2d>();
    std::vector<int>& in = g.items[n].in;
    in.insert(in.begin() + 1, moments);
    g.items[n].op = op;
  }
  g.compact();
  g.verify();
  return spread;
}

}  // namespace espalier
