#include "compress/criterion.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/nearest.h"
#include "base/random.h"
#include "compress/taylor.h"
#include "ops/batch_norm.h"

namespace espalier {

namespace {

Tensor float_filters(const Graph& graph, const ChannelGroup::Member& member) {
  const Tensor filters = graph.values[member.value].param.to(Device::kCpu);
  ESPALIER_CHECK(filters.dtype() == DType::kF32, "criterion: ", graph.values[member.value].name, " is ",
                 filters.dtype(), "; channels are chosen on FP32 models, before quantisation");
  return filters;
}

/// Adds to each channel its share of the norm of one producing filter: sum of |w|^p over the filter, to the
/// power 1 / p, divided by the mean over the filters of the group, so that tied layers count alike whatever
/// their scale. With a single producer the order is that of the plain norm.
void add_filter_norms(const Graph& graph, const ChannelGroup::Member& member, int power,
                      std::vector<double>& scores) {
  const Tensor filters = float_filters(graph, member);
  const int64_t per_filter = filters.elements() / filters.shape()[0];
  std::vector<double> norms;
  for (const int position : member.index) {
    const float* w = filters.f32() + position * per_filter;
    double sum = 0;
    for (int64_t i = 0; i < per_filter; ++i) {
      const double size = std::abs(static_cast<double>(w[i]));
      sum += power == 1 ? size : size * size;
    }
    norms.push_back(power == 1 ? sum : std::sqrt(sum));
  }
  const double mean = std::accumulate(norms.begin(), norms.end(), 0.0) / static_cast<double>(norms.size());
  for (size_t c = 0; c < norms.size(); ++c) scores[c] += mean > 0 ? norms[c] / mean : norms[c];
}

std::vector<double> filter_norms(const Graph& graph, const ChannelGroup& group, int power, bool first_only) {
  std::vector<double> scores(static_cast<size_t>(group.channels), 0.0);
  for (const ChannelGroup::Member& member : group.members) {
    if (!member.produces) continue;
    add_filter_norms(graph, member, power, scores);
    if (first_only) break;
  }
  return scores;
}

std::vector<double> l1(const Graph& graph, const ChannelGroup& group) {
  return filter_norms(graph, group, 1, true);
}
std::vector<double> l2(const Graph& graph, const ChannelGroup& group) {
  return filter_norms(graph, group, 2, true);
}
std::vector<double> l1_all(const Graph& graph, const ChannelGroup& group) {
  return filter_norms(graph, group, 1, false);
}

/// The sum of a filter's distances to the group's other filters of the first layer: the ones nearest to all
/// others can be replaced by them best (He et al., 2019, "Filter Pruning via Geometric Median").
std::vector<double> geometric_median(const Graph& graph, const ChannelGroup& group) {
  std::vector<double> scores(static_cast<size_t>(group.channels), 0.0);
  for (const ChannelGroup::Member& member : group.members) {
    if (!member.produces) continue;
    const Tensor filters = float_filters(graph, member);
    const int64_t length = filters.elements() / filters.shape()[0];
    for (int a = 0; a < group.channels; ++a)
      for (int b = 0; b < a; ++b) {
        const float *u = filters.f32() + member.index[a] * length,
                    *v = filters.f32() + member.index[b] * length;
        double sum = 0;
        for (int64_t i = 0; i < length; ++i) sum += (double{u[i]} - v[i]) * (double{u[i]} - v[i]);
        scores[a] += std::sqrt(sum);
        scores[b] += std::sqrt(sum);
      }
    break;
  }
  return scores;
}

/// |scale| of the group's first batch norm (Liu et al., 2017, "Learning Efficient Convolutional Networks
/// through Network Slimming"); a group without one goes by the L1 norm.
std::vector<double> bn_scale(const Graph& graph, const ChannelGroup& group) {
  for (const ChannelGroup::Member& member : group.members) {
    const bool is_scale = std::any_of(graph.items.begin(), graph.items.end(), [&](const Graph::Item& item) {
      return item.as<BatchNorm>() && item.in[1] == member.value;
    });
    if (!is_scale) continue;
    const std::vector<float> scale = graph.values[member.value].param.to_vector();
    std::vector<double> scores;
    for (const int position : member.index) scores.push_back(std::abs(double{scale[position]}));
    return scores;
  }
  return filter_norms(graph, group, 1, true);
}

std::vector<double> random_scores(const Graph&, const ChannelGroup& group) {
  Random random(1, Purpose::kCriterion, fnv1a(group.name.data(), group.name.size()));
  std::vector<double> scores(static_cast<size_t>(group.channels));
  for (double& score : scores) score = random.uniform();
  return scores;
}

}  // namespace

const std::vector<CriterionEntry>& criterion_table() {
  static const std::vector<CriterionEntry> table = {
      {"l1", "L1 norm of the group's first layer, as the reference has it", l1},
      {"l2", "L2 norm of the group's first layer", l2},
      {"l1_all", "L1 norms of all layers of the group, each relative to its mean, added", l1_all},
      {"geometric_median",
       "distance to the other filters of the first layer: what is most like the rest goes first",
       geometric_median},
      {"bn_scale", "size of the scale of the group's first batch norm", bn_scale},
      {"taylor", "what removing a channel does to the loss to first order, by gradients on pictures", nullptr,
       taylor_scores},
      {"random", "a fixed random order, to compare with", random_scores},
  };
  return table;
}

const CriterionEntry& find_criterion(const std::string& name) {
  std::vector<std::string> names;
  for (const CriterionEntry& entry : criterion_table()) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  fail(str("criterion '", name, "' is unknown", did_you_mean(name, names)));
}

std::vector<int> removal_order(const Graph& graph, const ChannelGroup& group, const std::string& criterion) {
  const CriterionEntry& entry = find_criterion(criterion);
  ESPALIER_CHECK(entry.score, "criterion ", criterion,
                 ": needs pictures; measure sensitivities by it, and the order of channels is in their file");
  return removal_order(entry.score(graph, group), group.name, criterion);
}

std::vector<int> removal_order(const std::vector<double>& scores, const std::string& group,
                               const std::string& criterion) {
  for (size_t c = 0; c < scores.size(); ++c)
    ESPALIER_CHECK(std::isfinite(scores[c]), "criterion ", criterion, ": channel ", c, " of group '", group,
                   "' scores ", scores[c], "; its weights are not finite, so the model is broken");
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores[a] < scores[b]; });
  return order;
}

int removed_count(int channels, double ratio) {
  return std::min(channels - 1, static_cast<int>(std::nearbyint(channels * ratio)));
}

}  // namespace espalier
