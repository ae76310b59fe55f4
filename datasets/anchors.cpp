#include "datasets/anchors.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "base/error.h"
#include "datasets/each_picture.h"
#include "io/file.h"

namespace espalier {

namespace {

/// Where the evaluation puts a picture of this size; the pixels do not matter.
PixelMap map_of(const Size& picture, const Pipeline& evaluation) {
  LabelledImage blank{Image(picture.width, picture.height)};
  Random unused(0, Purpose::kAugment);
  evaluation.run(blank, {unused}, 0, evaluation.steps());
  return blank.to_network;
}

size_t nearest_anchor(const BoxSize& size, const std::vector<BoxSize>& anchors) {
  size_t best = 0;
  for (size_t a = 1; a < anchors.size(); ++a)
    if (size_overlap(size, anchors[a]) > size_overlap(size, anchors[best])) best = a;
  return best;
}

/// k-means++ (Arthur and Vassilvitskii, 2007): each next centre is a box, the likelier the further it is from
/// those already chosen.
std::vector<BoxSize> beginning(const std::vector<BoxSize>& sizes, int count, Random& random) {
  std::vector<BoxSize> anchors = {sizes[random.below(static_cast<int>(sizes.size()))]};
  while (static_cast<int>(anchors.size()) < count) {
    std::vector<double> sum = {0};
    for (const BoxSize& size : sizes) {
      const double far = 1 - size_overlap(size, anchors[nearest_anchor(size, anchors)]);
      sum.push_back(sum.back() + far * far);
    }
    const double drawn = random.uniform() * sum.back();
    const auto above = std::upper_bound(sum.begin() + 1, sum.end() - 1, drawn);
    anchors.push_back(sizes[static_cast<size_t>(above - sum.begin() - 1)]);
  }
  return anchors;
}

double mean_overlap(const std::vector<BoxSize>& sizes, const std::vector<BoxSize>& anchors) {
  double sum = 0;
  for (const BoxSize& size : sizes) sum += size_overlap(size, anchors[nearest_anchor(size, anchors)]);
  return sum / static_cast<double>(sizes.size());
}

/// Moves every anchor to the mean of its boxes until no box changes its anchor.
void settle(const std::vector<BoxSize>& sizes, std::vector<BoxSize>& anchors) {
  constexpr int kMostRounds = 300;
  std::vector<size_t> owner(sizes.size(), anchors.size());
  for (int round = 0; round < kMostRounds; ++round) {
    bool changed = false;
    std::vector<std::pair<double, double>> sum(anchors.size());
    std::vector<int64_t> members(anchors.size());
    for (size_t i = 0; i < sizes.size(); ++i) {
      const size_t nearest = nearest_anchor(sizes[i], anchors);
      changed |= nearest != owner[i];
      owner[i] = nearest;
      sum[nearest].first += sizes[i].first;
      sum[nearest].second += sizes[i].second;
      ++members[nearest];
    }
    if (!changed) return;
    for (size_t a = 0; a < anchors.size(); ++a)
      if (members[a] > 0)
        anchors[a] = {static_cast<float>(sum[a].first / static_cast<double>(members[a])),
                      static_cast<float>(sum[a].second / static_cast<double>(members[a]))};
  }
}

}  // namespace

double size_overlap(const BoxSize& a, const BoxSize& b) {
  const double common = double{std::min(a.first, b.first)} * std::min(a.second, b.second);
  const double both = double{a.first} * a.second + double{b.first} * b.second - common;
  return both > 0 ? common / both : 0;
}

std::vector<BoxSize> box_sizes(const Dataset& data, const Pipeline& evaluation) {
  ESPALIER_CHECK(data.task == "detection", data.name, ": is for ", data.task,
                 " and has no boxes; anchors need data.format voc or coco");
  std::vector<Size> pictures(data.samples.size());
  for_each_picture(pictures.size(), [&](size_t i) {
    const Sample& sample = data.samples[i];
    if (sample.boxes.empty()) return;
    pictures[i] = {sample.width, sample.height};
    if (pictures[i].known()) return;
    const std::string path = data.path(sample).string(), bytes = read_file(path);
    const ImageInfo info = inspect_image(std::as_bytes(std::span(bytes)), path);
    pictures[i] = {info.width, info.height};
  });
  std::map<std::pair<int, int>, PixelMap> maps;
  std::vector<BoxSize> sizes;
  for (size_t i = 0; i < pictures.size(); ++i) {
    if (data.samples[i].boxes.empty()) continue;
    const auto [found, fresh] = maps.try_emplace({pictures[i].width, pictures[i].height});
    if (fresh) found->second = map_of(pictures[i], evaluation);
    const PixelMap& map = found->second;
    for (const ObjectBox& box : data.samples[i].boxes)
      if (!box.crowd)
        sizes.emplace_back(static_cast<float>(std::abs(map.scale_x) * box.width()),
                           static_cast<float>(std::abs(map.scale_y) * box.height()));
  }
  ESPALIER_CHECK(!sizes.empty(), data.name, ": has no boxes to fit anchors to; add some");
  return sizes;
}

AnchorSet fit_anchors(const std::vector<BoxSize>& sizes, int count, uint64_t seed) {
  const size_t different = std::set<BoxSize>(sizes.begin(), sizes.end()).size();
  ESPALIER_CHECK(count >= 1 && static_cast<size_t>(count) <= different, "data anchors: ", count,
                 " anchors from boxes of ", different, " different sizes; ask for 1 .. ", different);
  constexpr int kBeginnings = 10;
  AnchorSet best;
  for (int i = 0; i < kBeginnings; ++i) {
    Random random(seed, Purpose::kSubset, 1, static_cast<uint64_t>(i));
    std::vector<BoxSize> anchors = beginning(sizes, count, random);
    settle(sizes, anchors);
    const double mean = mean_overlap(sizes, anchors);
    if (mean > best.mean_iou) best = {std::move(anchors), mean, static_cast<int64_t>(sizes.size())};
  }
  std::sort(best.anchors.begin(), best.anchors.end(), [](const BoxSize& a, const BoxSize& b) {
    return std::pair(a.first * a.second, a.first) < std::pair(b.first * b.second, b.first);
  });
  for (BoxSize& anchor : best.anchors)  // as they are printed
    anchor = {std::round(anchor.first * 10) / 10, std::round(anchor.second * 10) / 10};
  best.mean_iou = mean_overlap(sizes, best.anchors);
  return best;
}

std::string anchors_yaml(const AnchorSet& set, const Size& network) {
  std::string list;
  for (const auto& [width, height] : set.anchors)
    list += fmt::format("{}[{:g}, {:g}]", list.empty() ? "" : ", ", width, height);
  return fmt::format("# {} anchors for {} boxes at {}x{} pixels, mean IoU {:.4f}\ntask:\n  anchors: [{}]\n",
                     set.anchors.size(), set.boxes, network.width, network.height, set.mean_iou, list);
}

Json to_json(const AnchorSet& set) {
  Json anchors = Json::array();
  for (const auto& [width, height] : set.anchors)
    anchors.push_back({std::round(width * 10.0) / 10, std::round(height * 10.0) / 10});
  return {{"anchors", anchors}, {"mean_iou", set.mean_iou}, {"boxes", set.boxes}};
}

}  // namespace espalier
