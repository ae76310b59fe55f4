#include "datasets/anchors.h"

#include <gtest/gtest.h>

#include "datasets/pictures.h"
#include "datasets/synthetic.h"
#include "support/temporary_directory.h"

namespace espalier {

namespace {

/// 40 boxes about each of these sizes.
std::vector<BoxSize> clusters(const std::vector<BoxSize>& centres) {
  Random random(3, Purpose::kTest);
  std::vector<BoxSize> sizes;
  for (int i = 0; i < 40; ++i)
    for (const auto& [w, h] : centres)
      sizes.emplace_back(w * static_cast<float>(random.uniform(0.95, 1.05)),
                         h * static_cast<float>(random.uniform(0.95, 1.05)));
  return sizes;
}

TEST(Anchors, FindsTheClustersAndSortsThemByArea) {
  const std::vector<BoxSize> centres = {{10, 12}, {30, 20}, {20, 60}, {90, 80}, {300, 200}};
  const AnchorSet set =
      fit_anchors(clusters({centres[4], centres[1], centres[0], centres[3], centres[2]}), 5, 1);
  ASSERT_EQ(set.anchors.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(set.anchors[i].first, centres[i].first, 0.02 * centres[i].first);
    EXPECT_NEAR(set.anchors[i].second, centres[i].second, 0.02 * centres[i].second);
  }
  EXPECT_GT(set.mean_iou, 0.93);
  EXPECT_EQ(set.boxes, 200);
}

TEST(Anchors, IsAFunctionOfItsArgumentsAndMoreAnchorsFitBetter) {
  std::vector<BoxSize> sizes;
  Random random(5, Purpose::kTest);
  for (int i = 0; i < 500; ++i)
    sizes.emplace_back(static_cast<float>(random.uniform(5, 200)),
                       static_cast<float>(random.uniform(5, 300)));
  double last = 0;
  for (const int count : {1, 3, 6, 9, 15}) {
    const AnchorSet set = fit_anchors(sizes, count, 1), again = fit_anchors(sizes, count, 1);
    EXPECT_EQ(set.anchors, again.anchors);
    EXPECT_GT(set.mean_iou, last);
    last = set.mean_iou;
    // The mean is what it says.
    double mean = 0;
    for (const BoxSize& size : sizes) {
      double best = 0;
      for (const BoxSize& anchor : set.anchors) best = std::max(best, size_overlap(size, anchor));
      mean += best / static_cast<double>(sizes.size());
    }
    EXPECT_NEAR(set.mean_iou, mean, 1e-9);
  }
  EXPECT_EQ(fit_anchors(sizes, 1, 1).anchors.size(), 1u);
  EXPECT_ERROR(fit_anchors({{3, 4}, {3, 4}, {5, 5}}, 3, 1),
               "data anchors: 3 anchors from boxes of 2 different sizes; ask for 1 .. 2");
  EXPECT_EQ(fit_anchors({{3, 4}, {3, 4}, {5, 5}}, 2, 1).mean_iou, 1);
}

TEST(Anchors, OverlapOfSizes) {
  EXPECT_EQ(size_overlap({4, 6}, {4, 6}), 1);
  EXPECT_DOUBLE_EQ(size_overlap({4, 6}, {2, 6}), 0.5);
  EXPECT_DOUBLE_EQ(size_overlap({4, 2}, {2, 4}), 4.0 / 12);
}

TEST(Anchors, SizesAreThoseOfTheNetworksPicture) {
  const test::TemporaryDirectory folder;
  make_pictures(folder.path() / "v", {.train = 6, .val = 2, .test = 0, .size = 80, .layout = "voc"});
  const DataSpec spec{.format = "voc", .root = folder.path() / "v"};
  Dataset data =
      open_dataset({.format = "voc", .root = folder.path() / "v", .on_error = OnError::kSkip}, Split::kTrain);
  const std::vector<BoxSize> stretched = box_sizes(data, Pipeline(default_eval_transforms("detection", 160)));
  const std::vector<BoxSize> whole = box_sizes(data, Pipeline(default_eval_transforms("segmentation", 160)));
  size_t at = 0;
  for (Sample& sample : data.samples)
    for (ObjectBox& box : sample.boxes) {
      EXPECT_NEAR(stretched[at].first, box.width() * 2, 1e-3);
      EXPECT_NEAR(stretched[at].second, box.height() * 160 / 60, 1e-3);
      EXPECT_NEAR(whole[at].second, box.height() * 2, 1e-3);
      ++at;
    }
  EXPECT_EQ(at, stretched.size());
  for (Sample& sample : data.samples) sample.width = sample.height = 0;  // then the pictures say
  EXPECT_EQ(box_sizes(data, Pipeline(default_eval_transforms("detection", 160))), stretched);
  const std::string yaml = anchors_yaml(fit_anchors(stretched, 2, 1), {160, 160});
  EXPECT_TRUE(test::contains(yaml, "# 2 anchors for ")) << yaml;
  EXPECT_TRUE(test::contains(yaml, "boxes at 160x160 pixels, mean IoU 0.")) << yaml;
  EXPECT_TRUE(test::contains(yaml, "\ntask:\n  anchors: [[")) << yaml;
  data.task = "classification";
  EXPECT_ERROR(box_sizes(data, Pipeline(default_eval_transforms("detection", 160))),
               "has no boxes; anchors need");
}

}  // namespace

}  // namespace espalier
