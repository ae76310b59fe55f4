#include "kernels/binary_loss.h"

#include <cmath>

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

ESPALIER_HD float sigmoid_of(float x) { return 1.0f / (1.0f + std::exp(-x)); }

/// One item is one place.
struct CrossEntropyForward {
  BinaryProblem p;
  float* losses;
  ESPALIER_HD void operator()(int64_t i) const {
    const float x = p.logits[i], y = static_cast<float>(p.labels[i]);
    losses[i] = p.labels[i] == p.ignored_label
                    ? 0.0f
                    : (x > 0 ? x : 0.0f) - x * y + std::log1p(std::exp(x > 0 ? -x : x));
  }
};

/// One item is one place.
struct CrossEntropyBackward {
  BinaryProblem p;
  float factor;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const {
    dx[i] = p.labels[i] == p.ignored_label
                ? 0.0f
                : factor * (sigmoid_of(p.logits[i]) - static_cast<float>(p.labels[i]));
  }
};

/// One item is one piece of an image.
struct DiceSums {
  BinaryProblem p;
  float* sums;
  ESPALIER_HD void operator()(int64_t i) const {
    const int64_t pieces = (p.M + kDicePiece - 1) / kDicePiece, image = i / pieces;
    const int64_t begin = i % pieces * kDicePiece, end = begin + kDicePiece < p.M ? begin + kDicePiece : p.M;
    float both = 0, predicted = 0, labelled = 0;
    for (int64_t j = image * p.M + begin; j < image * p.M + end; ++j) {
      if (p.labels[j] == p.ignored_label) continue;
      const float s = sigmoid_of(p.logits[j]), y = static_cast<float>(p.labels[j]);
      both += s * y;
      predicted += s;
      labelled += y;
    }
    sums[3 * i] = both;
    sums[3 * i + 1] = predicted;
    sums[3 * i + 2] = labelled;
  }
};

/// One item is one place.
struct DiceBackward {
  BinaryProblem p;
  const float* slopes;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const {
    if (p.labels[i] == p.ignored_label) {
      dx[i] = 0;
      return;
    }
    const float* slope = slopes + i / p.M * 2;
    const float s = sigmoid_of(p.logits[i]);
    dx[i] = s * (1 - s) * (slope[0] * static_cast<float>(p.labels[i]) + slope[1]);
  }
};

}  // namespace

void sigmoid_cross_entropy_forward(Device device, const BinaryProblem& p, float* losses) {
  for_each(device, p.N * p.M, CrossEntropyForward{p, losses}, 16);
}
void sigmoid_cross_entropy_backward(Device device, const BinaryProblem& p, float factor, float* dx) {
  for_each(device, p.N * p.M, CrossEntropyBackward{p, factor, dx}, 16);
}
void dice_sums(Device device, const BinaryProblem& p, float* sums) {
  for_each(device, p.N * ((p.M + kDicePiece - 1) / kDicePiece), DiceSums{p, sums}, 16 * kDicePiece);
}
void dice_backward(Device device, const BinaryProblem& p, const float* slopes, float* dx) {
  for_each(device, p.N * p.M, DiceBackward{p, slopes, dx}, 16);
}

}  // namespace espalier::kernels
