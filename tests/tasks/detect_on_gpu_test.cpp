// Decoding and suppression as a GPU does them: the loops in the emulator, the bodies on every device, against
// what the host does.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/suppress_loops.h"
#include "support/device_test.h"
#include "support/emulated_machine.h"
#include "support/messages.h"
#include "support/random_tensor.h"
#include "tasks/candidates.h"
#include "tasks/yolo.h"

namespace espalier {
namespace {

using test::random_candidates;

std::vector<ObjectBox> emulated(const Candidates& c, const NmsOptions& o, test::Schedule schedule) {
  const int64_t boxes = c.size();
  std::vector<float> corners, scores(c.scores.size());
  for (const std::vector<float>* side : {&c.x0, &c.y0, &c.x1, &c.y1})
    corners.insert(corners.end(), side->begin(), side->end());
  for (int64_t i = 0; i < boxes; ++i)
    for (int k = 0; k < c.classes; ++k) scores[k * boxes + i] = c.scores[i * c.classes + k];
  std::vector<kernels::KeptBox> kept(static_cast<size_t>(c.classes) * o.keep);
  std::vector<int32_t> counts(static_cast<size_t>(c.classes), -1);
  test::EmulatedMachine machine{.schedule = schedule};
  machine.launch(kernels::suppression::SuppressClass{{.boxes = boxes,
                                                      .classes = c.classes,
                                                      .corners = corners.data(),
                                                      .scores = scores.data(),
                                                      .threshold = o.score_threshold,
                                                      .overlap = o.overlap,
                                                      .top_k = o.top_k,
                                                      .keep = o.keep,
                                                      .plus = o.inclusive ? 1.0f : 0.0f},
                                                     kept.data(),
                                                     counts.data()},
                 c.classes, 1);
  std::vector<ObjectBox> all;
  for (int k = 0; k < c.classes; ++k)
    for (int i = 0; i < counts[k]; ++i) {
      const kernels::KeptBox& b = kept[static_cast<size_t>(k * o.keep + i)];
      all.push_back({b.x0, b.y0, b.x1, b.y1, k, b.score});
    }
  keep_best(all, o.keep);
  return all;
}

void expect_same(const std::vector<ObjectBox>& got, const std::vector<ObjectBox>& want, float tolerance = 0) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].label, want[i].label) << i;
    EXPECT_NEAR(got[i].score, want[i].score, tolerance) << i;
    EXPECT_NEAR(got[i].x0, want[i].x0, 100 * tolerance) << i;
    EXPECT_NEAR(got[i].y1, want[i].y1, 100 * tolerance) << i;
  }
}

TEST(SuppressionLoop, KeepsWhatTheHostKeeps) {
  for (const int count : {0, 1, 2, 17, 333, 2500})
    for (const NmsOptions& o :
         {NmsOptions{}, NmsOptions{.overlap = 0.2f, .top_k = 40, .inclusive = true},
          NmsOptions{.score_threshold = 0.5f, .top_k = 1, .keep = 7}, NmsOptions{.top_k = 1024, .keep = 3},
          NmsOptions{.score_threshold = 0, .overlap = 0.9f, .top_k = 900, .keep = 1000}})
      for (const test::Schedule schedule : {test::Schedule::kForwardLate, test::Schedule::kBackwardEarly}) {
        SCOPED_TRACE(str(count, " boxes, top ", o.top_k, ", keep ", o.keep));
        const Candidates c = random_candidates(count, 3, 5 + static_cast<uint64_t>(count), 300);
        expect_same(emulated(c, o, schedule), suppress(c, o));
      }
}

TEST(SuppressionLoop, ComparesScoresDownToTheLastBit) {
  Candidates c;
  c.classes = 1;
  float score = 0.5f;
  for (int i = 0; i < 600; ++i, score = std::nextafter(score, 1.0f)) {
    const float x = static_cast<float>(10 * (i * 7 % 600));
    c.x0.push_back(x), c.y0.push_back(0), c.x1.push_back(x + 5), c.y1.push_back(5);
    c.scores.push_back(score);
  }
  const NmsOptions o{.top_k = 13};
  expect_same(emulated(c, o, test::Schedule::kForwardLate), suppress(c, o));
}

/// As many boxes as a picture of 608 x 608 has, with the scores that a broken network may give.
TEST(SuppressionLoop, TakesAnyScoresOfManyBoxes) {
  constexpr int kBoxes = 22743;
  const auto scores = {+[](int) { return 1.0f; },
                       +[](int i) { return i % 5 ? 0.0f : 1.0f; },
                       +[](int i) { return i % 3 ? NAN : std::numeric_limits<float>::max(); },
                       +[](int i) { return 1e-40f * static_cast<float>(i); },
                       +[](int i) { return i == kBoxes - 1 ? 0.02f : 0.0f; },
                       +[](int i) { return 0.5f + 6e-8f * static_cast<float>(i % 700); }};
  int number = 0;
  for (const auto score : scores) {
    SCOPED_TRACE(number++);
    Candidates c = random_candidates(kBoxes, 1, 3, 600);
    for (int i = 0; i < kBoxes; ++i) c.scores[static_cast<size_t>(i)] = score(i);
    for (const NmsOptions& o : {NmsOptions{}, NmsOptions{.score_threshold = 0, .top_k = 1024}})
      expect_same(emulated(c, o, test::Schedule::kBackwardEarly), suppress(c, o));
  }
}

/// Two heads, for pictures of 48 x 32 of 3 x 2 and 6 x 4 cells.
YoloLayout small_layout() { return {2, {{8, 10}, {20, 12}, {30, 30}}, {{2}, {0, 1}}, {16, 8}}; }
Tensors small_heads(Device device) {
  return {test::random_tensor({2, 2, 3, 7}, device, 1), test::random_tensor({2, 4, 6, 14}, device, 2)};
}

struct DetectTest : test::DeviceTest {};

TEST_P(DetectTest, EveryPredictorIsDecodedAsOnTheHost) {
  const YoloLayout layout = small_layout();
  const Tensors heads = small_heads(GetParam()), host = small_heads(Device::kCpu);
  for (const Annotation& picture :
       {Annotation{96, 64, {}, {}, {0.5, 0.5, 0, 0}}, Annotation{48, 32, {}, {}, {-1, 1, 48, 0}},  // flipped
        Annotation{20, 32, {}, {}, {1, 1, 0, 8}}}) {  // padded, and much is outside
    const Candidates want = decode_yolo(layout, host, 1, picture, 0.3f, false, "x");
    constexpr int kBoxes = 2 * 3 + 4 * 6 * 2;
    const DecodedYolo got = decode_yolo_there(layout, heads, 1, picture, 0.3f, false, "x");
    ASSERT_EQ(got.corners.shape(), (Shape{4, kBoxes}));
    const std::vector<float> c = got.corners.to_vector(), s = got.scores.to_vector();
    int64_t at = 0;
    for (int i = 0; i < kBoxes; ++i) {
      if (s[i] == 0) continue;
      ASSERT_LT(at, want.size());
      EXPECT_NEAR(c[i], want.x0[at], 1e-4);
      EXPECT_NEAR(c[kBoxes + i], want.y0[at], 1e-4);
      EXPECT_NEAR(c[2 * kBoxes + i], want.x1[at], 1e-4);
      EXPECT_NEAR(c[3 * kBoxes + i], want.y1[at], 1e-4);
      for (int k = 0; k < 2; ++k) EXPECT_NEAR(s[k * kBoxes + i], want.scores[at * 2 + k], 1e-6);
      ++at;
    }
    EXPECT_EQ(at, want.size());
    EXPECT_GT(at, 5);
  }
}

TEST_P(DetectTest, FindsTheBoxesThatTheHostFinds) {
  const YoloLayout layout = small_layout();
  const Tensors heads = small_heads(GetParam()), host = small_heads(Device::kCpu);
  const Annotation picture{96, 64, {}, {}, {0.5, 0.5, 0, 0}};
  for (const NmsOptions& o :
       {NmsOptions{}, NmsOptions{.overlap = 0.1f, .top_k = 9, .keep = 5, .inclusive = true},
        NmsOptions{.top_k = 100000}}) {
    const std::vector<ObjectBox> want =
        suppress(decode_yolo(layout, host, 1, picture, o.score_threshold, o.inclusive, "x"), o);
    ASSERT_FALSE(want.empty());
    expect_same(detect_yolo(layout, heads, 1, picture, o, "x"), want, 1e-5f);
  }
  Tensors broken = heads;
  std::vector<float> values = heads[1].to_vector();
  values[values.size() - 3] = NAN;
  broken[1] = Tensor::from(values, heads[1].shape(), GetParam());
  test::expect_says(test::message_of([&] { detect_yolo(layout, broken, 1, picture, {}, "dir/1.jpg"); }),
                    "dir/1.jpg: the network's output has a value that is not finite");
  EXPECT_EQ(test::message_of([&] { detect_yolo(layout, broken, 0, picture, {}, "dir/1.jpg"); }), "");
}

TEST_P(DetectTest, FindsTheBoxesAmongThousandsThatAreAlike) {
  const YoloLayout layout = YoloLayout::of(4);
  Tensors host, heads;
  for (const int cells : {19, 38, 76}) {
    Tensor head = test::random_tensor({1, cells, cells, 27}, Device::kCpu, static_cast<uint64_t>(cells));
    for (int64_t i = 0; i < head.elements(); ++i)
      if (i % 9 >= 4) head.f32()[i] = 40;  // every score is 1
    host.push_back(head);
    heads.push_back(head.to(GetParam()));
  }
  const Annotation picture{608, 608, {}, {}, {}};
  const NmsOptions o{.inclusive = true};
  const std::vector<ObjectBox> want = suppress(decode_yolo(layout, host, 0, picture, 0.01f, true, "x"), o);
  ASSERT_EQ(want.size(), 100u);
  expect_same(detect_yolo(layout, heads, 0, picture, o, "x"), want, 1e-5f);
}

ESPALIER_TEST_ON_EVERY_DEVICE(DetectTest);

}  // namespace
}  // namespace espalier
