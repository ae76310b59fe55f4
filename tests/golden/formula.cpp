#include "golden/formula.h"

#include <cstdlib>

#include "support/shared.h"

namespace espalier::test {

std::string golden_file(const std::string& name) {
  if (const char* folder = std::getenv("ESPALIER_GOLDEN")) return std::string(folder) + "/" + name;
  return test::shared_path("golden/" + name);
}

std::vector<double> uniform(const std::string& name, int64_t count, uint64_t seed) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ull;
  uint64_t hash = 0xCBF29CE484222325ull;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001B3ull;
  const uint64_t key = hash ^ seed * kGolden;
  std::vector<double> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    uint64_t z = key + static_cast<uint64_t>(i + 1) * kGolden;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    values[i] = static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
  }
  return values;
}

std::vector<float> golden_boxes(int batch, int count, int classes, uint64_t seed) {
  const int64_t rows = int64_t{batch} * count;
  const std::vector<double> u = uniform("gt_box", rows * 4, seed), label = uniform("gt_label", rows, seed),
                            score = uniform("gt_score", rows, seed);
  std::vector<float> boxes;
  for (int64_t i = 0; i < rows; ++i) {
    double at[4];
    for (int k = 0; k < 2; ++k) {
      const double extent = 0.04 + 0.7 * u[i * 4 + 2 + k] * u[i * 4 + 2 + k];
      at[k] = extent / 2 + u[i * 4 + k] * (1 - extent);
      at[2 + k] = extent;
    }
    for (double v : at) boxes.push_back(i % count < count - 2 ? static_cast<float>(v) : 0.0f);
    boxes.push_back(static_cast<float>(static_cast<int>(label[i] * classes)));
    boxes.push_back(static_cast<float>(0.3 + 0.7 * score[i]));
  }
  return boxes;
}

YoloLossOptions golden_head(int n, int classes) {
  return {
      .anchors =
          {{10, 13}, {16, 30}, {33, 23}, {30, 61}, {62, 45}, {59, 119}, {116, 90}, {156, 198}, {373, 326}},
      .mask = {6 - 3 * n, 7 - 3 * n, 8 - 3 * n},
      .classes = classes,
      .downsample = 32 >> n};
}

}  // namespace espalier::test
