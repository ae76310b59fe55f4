// Suppression and decoding against plain loops.

#include "tasks/nms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/messages.h"
#include "support/random_tensor.h"
#include "tasks/candidates.h"
#include "tasks/yolo.h"

namespace espalier {
namespace {

using test::random_candidates;

/// Class by class, best first, against all that were kept.
std::vector<ObjectBox> plain(const Candidates& c, const NmsOptions& o) {
  std::vector<ObjectBox> kept;
  for (int k = 0; k < c.classes; ++k) {
    std::vector<ObjectBox> boxes, mine;
    for (int64_t i = 0; i < c.size(); ++i)
      if (const float score = c.scores[i * c.classes + k]; score > o.score_threshold)
        boxes.push_back({c.x0[i], c.y0[i], c.x1[i], c.y1[i], k, score});
    std::stable_sort(boxes.begin(), boxes.end(), [](auto& a, auto& b) { return a.score > b.score; });
    if (static_cast<int>(boxes.size()) > o.top_k) boxes.resize(o.top_k);
    for (const ObjectBox& box : boxes)
      if (std::all_of(mine.begin(), mine.end(), [&](const ObjectBox& better) {
            return overlap_of(better, box, o.inclusive) <= o.overlap;
          }))
        mine.push_back(box);
    kept.insert(kept.end(), mine.begin(), mine.end());
  }
  std::stable_sort(kept.begin(), kept.end(), [](auto& a, auto& b) { return a.score > b.score; });
  if (static_cast<int>(kept.size()) > o.keep) kept.resize(o.keep);
  return kept;
}

TEST(NmsTest, MatchesAPlainLoop) {
  int compared = 0;
  for (const int count : {0, 1, 2, 17, 333})
    for (const bool inclusive : {false, true})
      for (const NmsOptions& o : {NmsOptions{.inclusive = inclusive},
                                  NmsOptions{.overlap = 0.2f, .top_k = 40, .inclusive = inclusive},
                                  NmsOptions{.score_threshold = 0.5f, .keep = 7, .inclusive = inclusive}}) {
        const Candidates c = random_candidates(count, 3, 5 + static_cast<uint64_t>(count));
        const std::vector<ObjectBox> got = suppress(c, o), want = plain(c, o);
        ASSERT_EQ(got.size(), want.size()) << count << " boxes, top " << o.top_k << ", keep " << o.keep;
        for (size_t i = 0; i < got.size(); ++i, ++compared) {
          EXPECT_EQ(got[i].label, want[i].label) << i;
          EXPECT_EQ(got[i].score, want[i].score) << i;
          EXPECT_EQ(got[i].x0, want[i].x0) << i;
        }
      }
  EXPECT_GT(compared, 300);
}

TEST(NmsTest, OverlapsByHand) {
  const ObjectBox a{0, 0, 10, 10}, b{5, 0, 15, 10};
  EXPECT_DOUBLE_EQ(overlap_of(a, b), 50.0 / 150);
  EXPECT_DOUBLE_EQ(overlap_of(a, b, true), 66.0 / 176) << "corners are pixels: 11 x 11 each, 6 x 11 shared";
  EXPECT_EQ(overlap_of(a, {10, 0, 20, 10}), 0) << "they only touch";
  EXPECT_DOUBLE_EQ(overlap_of(a, {10, 0, 20, 10}, true), 11.0 / 231);
  ObjectBox crowd{0, 0, 100, 100};
  crowd.crowd = true;
  EXPECT_EQ(overlap_of(a, crowd), 1) << "of a crowd, the share of the box counts";
}

/// Two heads, for pictures of 48 x 32 of 3 x 2 and 6 x 4 cells.
YoloLayout small_layout() { return {2, {{8, 10}, {20, 12}, {30, 30}}, {{2}, {0, 1}}, {16, 8}}; }

TEST(YoloTest, DecodesWhatTheFormulaSays) {
  const YoloLayout layout = small_layout();
  const Tensors heads = {test::random_tensor({2, 2, 3, 7}, Device::kCpu, 1),
                         test::random_tensor({2, 4, 6, 14}, Device::kCpu, 2)};
  layout.check(heads);
  // The file is 96 x 64, the network's picture 48 x 32, half of it.
  const Annotation picture{96, 64, {}, {}, {0.5, 0.5, 0, 0}};
  const Candidates got = decode_yolo(layout, heads, 1, picture, 0.3f, false, "x");
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  size_t at = 0;
  int left_out = 0;
  for (int head = 0; head < 2; ++head) {
    const Shape& s = heads[head].shape();
    for (int h = 0; h < s[1]; ++h)
      for (int w = 0; w < s[2]; ++w)
        for (size_t a = 0; a < layout.masks[head].size(); ++a) {
          const float* t = heads[head].f32() + (((int64_t{1} * s[1] + h) * s[2] + w) * s[3]) + a * 7;
          const double objectness = sigmoid(t[4]);
          if (objectness <= 0.3) {
            ++left_out;
            continue;
          }
          const auto [aw, ah] = layout.anchors[layout.masks[head][a]];
          const int stride = layout.strides[head];
          const double cx = 2 * (w + sigmoid(t[0])) * stride, cy = 2 * (h + sigmoid(t[1])) * stride,
                       bw = 2 * aw * std::exp(t[2]), bh = 2 * ah * std::exp(t[3]);
          ASSERT_LT(at, got.x0.size());
          EXPECT_NEAR(got.x0[at], std::max(0.0, cx - bw / 2), 1e-3);
          EXPECT_NEAR(got.y0[at], std::max(0.0, cy - bh / 2), 1e-3);
          EXPECT_NEAR(got.x1[at], std::min(96.0, cx + bw / 2), 1e-3);
          EXPECT_NEAR(got.y1[at], std::min(64.0, cy + bh / 2), 1e-3);
          for (int k = 0; k < 2; ++k)
            EXPECT_NEAR(got.scores[at * 2 + k], objectness * sigmoid(t[5 + k]), 1e-6);
          ++at;
        }
  }
  EXPECT_EQ(at, got.x0.size());
  EXPECT_GT(at, 20u);
  EXPECT_GT(left_out, 5);
}

TEST(YoloTest, FollowsPaddingAndFlips) {
  const YoloLayout layout{1, {{8, 8}}, {{0}}, {8}};
  Tensor head = Tensor::full({1, 4, 4, 6}, -20);
  // One sure box of 8 x 8 centred in cell (column 1, row 2): 8 .. 16, 16 .. 24 of the network's 32.
  for (int c = 0; c < 6; ++c) head.f32()[(2 * 4 + 1) * 6 + c] = c < 4 ? 0.0f : 20.0f;
  const auto box = [&](const Annotation& picture) {
    const Candidates c = decode_yolo(layout, {head}, 0, picture, 0.01f, false, "x");
    EXPECT_EQ(c.size(), 1);
    return std::vector<float>{c.x0[0], c.y0[0], c.x1[0], c.y1[0]};
  };
  EXPECT_EQ(box({32, 32, {}, {}, {}}), (std::vector<float>{8, 16, 16, 24}));
  EXPECT_EQ(box({64, 16, {}, {}, {0.5, 1, 0, 8}}), (std::vector<float>{16, 8, 32, 16})) << "padded above";
  EXPECT_EQ(box({32, 32, {}, {}, {-1, 1, 32, 0}}), (std::vector<float>{16, 16, 24, 24})) << "flipped";
  EXPECT_EQ(box({12, 20, {}, {}, {}}), (std::vector<float>{8, 16, 12, 20})) << "clipped";
  EXPECT_EQ(decode_yolo(layout, {head}, 0, {8, 8, {}, {}, {}}, 0.01f, false, "x").size(), 0) << "outside";
}

TEST(YoloTest, WhatCannotBeDecodedIsAnError) {
  const YoloLayout layout = small_layout();
  const Tensor a = test::random_tensor({1, 2, 3, 7}), b = test::random_tensor({1, 4, 6, 14});
  const auto complaint = [&](const Tensors& heads) { return test::message_of([&] { layout.check(heads); }); };
  EXPECT_EQ(complaint({a, b}), "");
  test::expect_says(complaint({a}), "1 outputs, and 2 anchor_masks");
  test::expect_says(complaint({a, a}), "it needs 14 channels");
  test::expect_says(complaint({a, test::random_tensor({1, 4, 5, 14})}), "pictures of different sizes");
  const Tensor broken = a.clone();
  broken.f32()[17] = NAN;
  const Annotation picture{48, 32, {}, {}, {}};
  const auto decode = [&](const Tensor& head, const Annotation& p) {
    return test::message_of([&] { decode_yolo(layout, {head, b}, 0, p, 0.01f, false, "dir/1.jpg"); });
  };
  EXPECT_EQ(decode(a, picture), "");
  test::expect_says(decode(broken, picture),
                    "dir/1.jpg: the network's output has a value that is not finite");
  test::expect_says(decode(a, {}), "dir/1.jpg: is 0x0 pixels");
}

TEST(YoloTest, HugeSizesAreClippedToo) {
  const YoloLayout layout{1, {{8, 8}}, {{0}}, {8}};
  const Tensor head = Tensor::full({1, 1, 1, 6}, 200);
  const Candidates c = decode_yolo(layout, {head}, 0, {8, 8, {}, {}, {}}, 0.01f, false, "x");
  ASSERT_EQ(c.size(), 1);
  EXPECT_EQ(c.x0[0], 0);
  EXPECT_EQ(c.y1[0], 8);
}

}  // namespace
}  // namespace espalier
