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
  LossFactor factor;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const {
    dx[i] = p.labels[i] == p.ignored_label
                ? 0.0f
                : factor() * (sigmoid_of(p.logits[i]) - static_cast<float>(p.labels[i]));
  }
};

ESPALIER_HD int64_t pieces_of(const BinaryProblem& p) { return (p.M + kDicePiece - 1) / kDicePiece; }

/// One item is one piece of an image.
struct DiceSums {
  BinaryProblem p;
  float* sums;
  ESPALIER_HD void operator()(int64_t i) const {
    const int64_t pieces = pieces_of(p), image = i / pieces;
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

/// One item is one image.
struct DiceSlopes {
  BinaryProblem p;
  const float* sums;
  double eps;
  float *losses, *slopes;
  ESPALIER_HD void operator()(int64_t n) const {
    const int64_t values = pieces_of(p) * 3;
    double sum[3] = {};
    for (int64_t i = 0; i < values; ++i) sum[i % 3] += sums[n * values + i];
    const double both = sum[0], all = sum[1] + sum[2] + eps;
    losses[n] = static_cast<float>(1 - 2 * both / all);
    slopes[2 * n] = static_cast<float>(-2 / all / static_cast<double>(p.N));
    slopes[2 * n + 1] = static_cast<float>(2 * both / (all * all) / static_cast<double>(p.N));
  }
};

/// One item in all.
struct DiceLoss {
  int64_t N;
  const float* losses;
  float* loss;
  ESPALIER_HD void operator()(int64_t) const {
    double sum = 0;
    for (int64_t n = 0; n < N; ++n) sum += losses[n];
    *loss = static_cast<float>(sum / static_cast<double>(N));
  }
};

/// One item is one place.
struct DiceBackward {
  BinaryProblem p;
  const float *slopes, *gradient;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const {
    if (p.labels[i] == p.ignored_label) {
      dx[i] = 0;
      return;
    }
    const float* slope = slopes + i / p.M * 2;
    const float s = sigmoid_of(p.logits[i]);
    dx[i] = *gradient * s * (1 - s) * (slope[0] * static_cast<float>(p.labels[i]) + slope[1]);
  }
};

}  // namespace

void sigmoid_cross_entropy_forward(Device device, const BinaryProblem& p, float* losses) {
  for_each(device, p.N * p.M, CrossEntropyForward{p, losses}, 16);
}
void sigmoid_cross_entropy_backward(Device device, const BinaryProblem& p, const LossFactor& factor,
                                    float* dx) {
  for_each(device, p.N * p.M, CrossEntropyBackward{p, factor, dx}, 16);
}
void dice_sums(Device device, const BinaryProblem& p, float* sums) {
  for_each(device, p.N * pieces_of(p), DiceSums{p, sums}, 16 * kDicePiece);
}
void dice_mean(Device device, const BinaryProblem& p, const float* sums, double eps, float* loss,
               float* slopes) {
  float* losses = slopes + 2 * p.N;
  for_each(device, p.N, DiceSlopes{p, sums, eps, losses, slopes}, pieces_of(p) * 3);
  for_each(device, 1, DiceLoss{p.N, losses, loss});
}
void dice_backward(Device device, const BinaryProblem& p, const float* slopes, const float* gradient,
                   float* dx) {
  for_each(device, p.N * p.M, DiceBackward{p, slopes, gradient, dx}, 16);
}

}  // namespace espalier::kernels
