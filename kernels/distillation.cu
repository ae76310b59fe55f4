#include "kernels/distillation.h"

#include <cmath>

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

ESPALIER_HD float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

/// log(1 + exp(x)), without overflow.
ESPALIER_HD float softplus(float x) { return (x > 0 ? x : 0.0f) + std::log1p(std::exp(x > 0 ? -x : x)); }

/// p log(p / q) + (1 - p) log((1 - p) / (1 - q)), p = sigmoid(t), q = sigmoid(x).
ESPALIER_HD float divergence(float x, float t) {
  const float p = sigmoid(t);
  return p * (softplus(-x) - softplus(-t)) + (1 - p) * (softplus(x) - softplus(t));
}

ESPALIER_HD float largest(const float* x, int K) {
  float top = x[0];
  for (int k = 1; k < K; ++k) top = x[k] > top ? x[k] : top;
  return top;
}

/// One row of logits, softened.
struct Softened {
  const float* x;
  float inverse, top, log_sum;
  ESPALIER_HD Softened(const float* x, int K, float temperature)
      : x(x), inverse(1 / temperature), top(largest(x, K)) {
    float sum = 0;
    for (int k = 0; k < K; ++k) sum += std::exp((x[k] - top) * inverse);
    log_sum = std::log(sum);
  }
  ESPALIER_HD float log_share(int k) const { return (x[k] - top) * inverse - log_sum; }
  ESPALIER_HD float share(int k) const { return std::exp(log_share(k)); }
};

/// One item is one row.
struct Forward {
  DistillationProblem p;
  float* losses;
  ESPALIER_HD void operator()(int64_t i) const {
    const float T = p.temperature, *x = p.logits + i * p.K, *t = p.teacher + i * p.K;
    float loss = 0;
    if (p.K == 1) {
      loss = divergence(x[0] / T, t[0] / T);
    } else {
      const Softened student(x, p.K, T), teacher(t, p.K, T);
      for (int k = 0; k < p.K; ++k) loss += teacher.share(k) * (teacher.log_share(k) - student.log_share(k));
    }
    losses[i] = p.labels[i] == p.ignored_label ? 0.0f : T * T * loss;
  }
};

/// One item is one row.
struct Backward {
  DistillationProblem p;
  LossFactor loss_factor;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const {
    const float factor = loss_factor();
    const float T = p.temperature, *x = p.logits + i * p.K, *t = p.teacher + i * p.K;
    float* g = dx + i * p.K;
    if (p.labels[i] == p.ignored_label) {
      for (int k = 0; k < p.K; ++k) g[k] = 0;
    } else if (p.K == 1) {
      g[0] = factor * T * (sigmoid(x[0] / T) - sigmoid(t[0] / T));
    } else {
      const Softened student(x, p.K, T), teacher(t, p.K, T);
      for (int k = 0; k < p.K; ++k) g[k] = factor * T * (student.share(k) - teacher.share(k));
    }
  }
};

/// The loss of one predictor; with `g` also writes the derivative.
ESPALIER_HD float predictor(const YoloDistillationProblem& p, int64_t i, float factor, float* g) {
  const int64_t at = i * (5 + p.classes);
  const float T = p.temperature, *x = p.head + at, *t = p.teacher + at;
  const float object = sigmoid(t[4]);
  float loss = 0;
  for (int k = 0; k < 2; ++k) {
    loss += divergence(x[k], t[k]);
    if (g) g[k] = factor * object * (sigmoid(x[k]) - sigmoid(t[k]));
  }
  for (int k = 2; k < 4; ++k) {
    loss += (x[k] - t[k]) * (x[k] - t[k]) / 2;
    if (g) g[k] = factor * object * (x[k] - t[k]);
  }
  for (int k = 5; k < 5 + p.classes; ++k) {
    loss += T * T * divergence(x[k] / T, t[k] / T);
    if (g) g[k] = factor * object * T * (sigmoid(x[k] / T) - sigmoid(t[k] / T));
  }
  if (g) g[4] = factor * (sigmoid(x[4]) - object);
  return object * loss + divergence(x[4], t[4]);
}

/// One item is one predictor.
struct YoloForward {
  YoloDistillationProblem p;
  float* losses;
  ESPALIER_HD void operator()(int64_t i) const { losses[i] = predictor(p, i, 0, nullptr); }
};

/// One item is one predictor.
struct YoloBackward {
  YoloDistillationProblem p;
  LossFactor factor;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const { predictor(p, i, factor(), dx + i * (5 + p.classes)); }
};

}  // namespace

void distillation_forward(Device device, const DistillationProblem& p, float* losses) {
  for_each(device, p.rows, Forward{p, losses}, 32 * p.K);
}
void distillation_backward(Device device, const DistillationProblem& p, const LossFactor& factor, float* dx) {
  for_each(device, p.rows, Backward{p, factor, dx}, 32 * p.K);
}
void yolo_distillation_forward(Device device, const YoloDistillationProblem& p, float* losses) {
  for_each(device, p.predictors, YoloForward{p, losses}, 32 * (5 + p.classes));
}
void yolo_distillation_backward(Device device, const YoloDistillationProblem& p, const LossFactor& factor,
                                float* dx) {
  for_each(device, p.predictors, YoloBackward{p, factor, dx}, 32 * (5 + p.classes));
}

}  // namespace espalier::kernels
