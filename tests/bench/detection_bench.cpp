// Milliseconds of decoding and suppression for the heads of a YOLOv3 at 608 pixels, 22,743 boxes of 4
// classes, and of the metric, all on one thread.
//
//   ninja bench_detection && tests/bench/bench_detection

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>

#include "bench/timing.h"
#include "tasks/average_precision.h"
#include "tasks/yolo.h"

namespace espalier {

namespace {

constexpr int kClasses = 4;

/// Heads whose objectness is normal about `mean`: at -9 few boxes stay, at 3 nearly all.
Tensors heads(double mean) {
  Random random(1, Purpose::kTest);
  Tensors made;
  for (const int extent : {19, 38, 76}) {
    const Tensor head({1, extent, extent, 3 * (5 + kClasses)});
    for (int64_t i = 0; i < head.elements(); ++i)
      head.f32()[i] = static_cast<float>(random.normal() + (i % (5 + kClasses) == 4 ? mean : 0.0));
    made.push_back(head);
  }
  return made;
}

double median_ms(const std::function<void()>& call) {
  std::vector<double> times;
  for (int i = 0; i < 51; ++i) {
    const double start = now_ms();
    call();
    times.push_back(now_ms() - start);
  }
  return quantile(times, 0.5);
}

void print_row(const char* name, const Tensors& outputs) {
  const YoloLayout layout = YoloLayout::of(kClasses);
  const Annotation picture{1200, 900, {}, {}, {608 / 1200.0, 608 / 900.0, 0, 0}};
  Candidates candidates;
  const double decode =
      median_ms([&] { candidates = decode_yolo(layout, outputs, 0, picture, 0.01f, false, "picture"); });
  size_t kept = 0;
  const double nms = median_ms([&] { kept = suppress(candidates, {}).size(); });
  std::printf("%-22s %6lld boxes  decode %6.2f ms  nms %6.2f ms  %zu kept\n", name,
              static_cast<long long>(candidates.size()), decode, nms, kept);
}

/// Every box far from every other, so that none is suppressed.
void print_apart() {
  Candidates c;
  c.classes = kClasses;
  Random random(2, Purpose::kTest);
  for (int i = 0; i < 22743; ++i) {
    const float x = static_cast<float>(i % 151 * 4), y = static_cast<float>(i / 151 * 4);
    for (auto [list, value] : {std::pair{&c.x0, x}, {&c.y0, y}, {&c.x1, x + 3}, {&c.y1, y + 3}})
      list->push_back(value);
    for (int k = 0; k < kClasses; ++k) c.scores.push_back(static_cast<float>(random.uniform(0.01, 1)));
  }
  for (const int keep : {100, 100000})
    std::printf("none overlaps, keep %-6d nms %6.2f ms\n", keep,
                median_ms([&] { suppress(c, {.keep = keep}); }));
}

void print_metric() {
  for (const auto& [name, rule] : {std::pair{"voc11", MapRule::kVoc11}, {"coco", MapRule::kCoco}}) {
    Random random(3, Purpose::kTest);
    AveragePrecision precision(kClasses, rule);
    const double start = now_ms();
    for (int picture = 0; picture < 200; ++picture) {
      std::vector<ObjectBox> found, objects;
      for (int i = 0; i < 100; ++i) {
        const float x = static_cast<float>(random.uniform(0, 500)),
                    y = static_cast<float>(random.uniform(0, 500));
        found.push_back({x, y, x + 50, y + 60, random.below(kClasses), static_cast<float>(random.uniform())});
        if (i < 8) objects.push_back({x + 3, y, x + 50, y + 55, found.back().label});
      }
      precision.add(found, objects);
    }
    const double added = now_ms();
    precision.mean();
    const double averaged = now_ms();
    precision.interval();
    std::printf("%-6s 200 pictures of 100 boxes: match %.1f ms, average %.1f ms, interval %.1f ms\n", name,
                added - start, averaged - added, now_ms() - averaged);
  }
}

}  // namespace

}  // namespace espalier

int main() {
  using namespace espalier;
  print_row("few over 0.01", heads(-9));
  print_row("half over 0.01", heads(-4.6));
  print_row("all over 0.01", heads(3));
  print_apart();
  print_metric();
}
