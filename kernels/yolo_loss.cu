#include "kernels/yolo_loss.h"

#include <cmath>

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

constexpr float kNoBox = 1e-6f;     // boxes below this width or height are padding
constexpr float kNoObject = 1e-5f;  // scores below this make no positive

struct Box {
  float x, y, w, h;
};

ESPALIER_HD Box box_at(const YoloLossProblem& p, int64_t i) {
  const float* b = p.boxes + i * 6;
  return {b[0], b[1], b[2], b[3]};
}

/// Written so that NaN is padding.
ESPALIER_HD bool is_padding(const Box& b) { return !(b.w >= kNoBox && b.h >= kNoBox); }

ESPALIER_HD float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

/// -target * log(sigmoid(x)) - (1 - target) * log(1 - sigmoid(x)), without overflow.
ESPALIER_HD float cross_entropy(float x, float target) {
  return (x > 0 ? x : 0.0f) - x * target + std::log(1.0f + std::exp(x > 0 ? -x : x));
}

ESPALIER_HD float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f; }

/// How much of [a - aw / 2, a + aw / 2] lies in [b - bw / 2, b + bw / 2].
ESPALIER_HD float overlap(float a, float aw, float b, float bw) {
  const float low_a = a - aw / 2, low_b = b - bw / 2, high_a = a + aw / 2, high_b = b + bw / 2;
  const float shared = (high_a < high_b ? high_a : high_b) - (low_a > low_b ? low_a : low_b);
  return shared > 0 ? shared : 0.0f;
}

/// One item is one box. Shapes are compared with their centres together, by IoU over all heads' anchors; the
/// first of equals wins.
struct Match {
  YoloLossProblem p;
  int32_t* matches;
  ESPALIER_HD void operator()(int64_t i) const {
    matches[i] = -1;
    const Box b = box_at(p, i);
    if (is_padding(b)) return;
    int best = 0;
    float most = -1;
    for (int k = 0; k < p.anchors; ++k) {
      const float w = p.sizes[2 * k], h = p.sizes[2 * k + 1];
      const float shared = (w < b.w ? w : b.w) * (h < b.h ? h : b.h);
      const float iou = shared / (w * h + b.w * b.h - shared);
      if (iou > most) {
        most = iou;
        best = k;
      }
    }
    int column = static_cast<int>(b.x * static_cast<float>(p.W));
    int row = static_cast<int>(b.y * static_cast<float>(p.H));
    column = column < p.W - 1 ? column : p.W - 1;  // a centre on the right or bottom edge
    row = row < p.H - 1 ? row : p.H - 1;
    for (int a = 0; a < p.A; ++a)
      if (p.mask[a] == best) matches[i] = (row * p.W + column) * p.A + a;
  }
};

/// One item is one predictor, which gathers from the boxes of its image in their order.
struct Predictor {
  YoloLossProblem p;
  const int32_t* matches;

  /// True if the predicted box overlaps a box of the image by more than the threshold.
  ESPALIER_HD bool is_ignored(const float* x, int64_t image, int row, int column, int a) const {
    const float px = (sigmoid(x[0]) + static_cast<float>(column)) / static_cast<float>(p.W);
    const float py = (sigmoid(x[1]) + static_cast<float>(row)) / static_cast<float>(p.H);
    const float pw = std::exp(x[2]) * p.sizes[2 * p.mask[a]],
                ph = std::exp(x[3]) * p.sizes[2 * p.mask[a] + 1];
    for (int m = 0; m < p.M; ++m) {
      const Box b = box_at(p, image * p.M + m);
      if (is_padding(b)) continue;
      const float shared = overlap(px, pw, b.x, b.w) * overlap(py, ph, b.y, b.h);
      if (shared / (pw * ph + b.w * b.h - shared) > p.ignore_threshold) return true;
    }
    return false;
  }

  /// Adds to the loss; with `g` also writes the derivative. dL/dx of a cross entropy is sigmoid(x) - target.
  ESPALIER_HD float run(int64_t item, float factor, float* g) const {
    const int64_t per_image = int64_t{p.H} * p.W * p.A, image = item / per_image;
    const int at = static_cast<int>(item % per_image), a = at % p.A;
    const int column = at / p.A % p.W, row = at / p.A / p.W, length = 5 + p.classes;
    const float* x = p.head + item * length;
    if (g)
      for (int k = 0; k < length; ++k) g[k] = 0;
    float loss = 0, object = 0;
    bool matched = false;
    for (int m = 0; m < p.M; ++m) {
      const int64_t i = image * p.M + m;
      if (matches[i] != at) continue;
      matched = true;
      const Box b = box_at(p, i);
      const int label = static_cast<int>(p.boxes[i * 6 + 4]);
      const float score = object = p.boxes[i * 6 + 5];
      const float weight = (2.0f - b.w * b.h) * score;
      const float tx = b.x * static_cast<float>(p.W) - static_cast<float>(column);
      const float ty = b.y * static_cast<float>(p.H) - static_cast<float>(row);
      const float tw = std::log(b.w / p.sizes[2 * p.mask[a]]);
      const float th = std::log(b.h / p.sizes[2 * p.mask[a] + 1]);
      loss += weight * (cross_entropy(x[0], tx) + cross_entropy(x[1], ty) + std::fabs(x[2] - tw) +
                        std::fabs(x[3] - th));
      for (int k = 0; k < p.classes; ++k)
        loss += score * cross_entropy(x[5 + k], k == label ? p.positive : p.negative);
      if (!g) continue;
      g[0] += weight * (sigmoid(x[0]) - tx);
      g[1] += weight * (sigmoid(x[1]) - ty);
      g[2] += weight * sign(x[2] - tw);
      g[3] += weight * sign(x[3] - th);
      for (int k = 0; k < p.classes; ++k)
        g[5 + k] += score * (sigmoid(x[5 + k]) - (k == label ? p.positive : p.negative));
    }
    if (object > kNoObject) {
      loss += object * cross_entropy(x[4], 1.0f);
      if (g) g[4] = object * (sigmoid(x[4]) - 1.0f);
    } else if (matched || !is_ignored(x, image, row, column, a)) {
      loss += cross_entropy(x[4], 0.0f);
      if (g) g[4] = sigmoid(x[4]);
    }
    if (g)
      for (int k = 0; k < length; ++k) g[k] *= factor;
    return loss;
  }
};

struct Forward {
  Predictor predictor;
  float* losses;
  ESPALIER_HD void operator()(int64_t i) const { losses[i] = predictor.run(i, 0, nullptr); }
};

struct Backward {
  Predictor predictor;
  LossFactor factor;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const {
    predictor.run(i, factor(), dx + i * (5 + predictor.p.classes));
  }
};

int64_t predictors(const YoloLossProblem& p) { return int64_t{p.N} * p.H * p.W * p.A; }
int64_t work(const YoloLossProblem& p) { return 50 + p.classes + int64_t{16} * p.M; }

}  // namespace

void yolo_match(Device device, const YoloLossProblem& p, int32_t* matches) {
  for_each(device, int64_t{p.N} * p.M, Match{p, matches}, int64_t{8} * p.anchors);
}
void yolo_loss_forward(Device device, const YoloLossProblem& p, const int32_t* matches, float* losses) {
  for_each(device, predictors(p), Forward{{p, matches}, losses}, work(p));
}
void yolo_loss_backward(Device device, const YoloLossProblem& p, const int32_t* matches,
                        const LossFactor& factor, float* dx) {
  for_each(device, predictors(p), Backward{{p, matches}, factor, dx}, work(p));
}

}  // namespace espalier::kernels
