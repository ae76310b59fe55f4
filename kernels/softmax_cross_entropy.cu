#include "kernels/softmax_cross_entropy.h"

#include <cmath>

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/pixel_maps_cuda.h"

namespace espalier::kernels {

namespace {

ESPALIER_HD float largest(const float* x, int K) {
  float top = x[0];
  for (int k = 1; k < K; ++k) top = x[k] > top ? x[k] : top;
  return top;
}

/// One item is one row. loss = log(sum exp(x)) - sum target * x, which needs no division.
struct Forward {
  CrossEntropyProblem p;
  float* losses;
  ESPALIER_HD void operator()(int64_t i) const {
    const int label = p.labels[i];
    if (label == p.ignored_label) {
      losses[i] = 0;
      return;
    }
    const float* x = p.logits + i * p.K;
    const float top = largest(x, p.K);
    float sum = 0, total = 0;
    for (int k = 0; k < p.K; ++k) {
      sum += std::exp(x[k] - top);
      total += x[k] - top;
    }
    const float s = p.label_smoothing, weight = p.weights ? p.weights[label] : 1.0f;
    losses[i] = weight * (std::log(sum) - (1 - s) * (x[label] - top) - s / static_cast<float>(p.K) * total);
  }
};

/// One item is one row.
struct Backward {
  CrossEntropyProblem p;
  LossFactor factor;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const {
    const int label = p.labels[i];
    float* g = dx + i * p.K;
    if (label == p.ignored_label) {
      for (int k = 0; k < p.K; ++k) g[k] = 0;
      return;
    }
    const float* x = p.logits + i * p.K;
    const float top = largest(x, p.K);
    float sum = 0;
    for (int k = 0; k < p.K; ++k) sum += g[k] = std::exp(x[k] - top);
    const float s = p.label_smoothing, even = s / static_cast<float>(p.K);
    const float scale = factor() * (p.weights ? p.weights[label] : 1.0f);
    for (int k = 0; k < p.K; ++k) g[k] = scale * (g[k] / sum - even - (k == label ? 1 - s : 0.0f));
  }
};

}  // namespace

void softmax_cross_entropy_forward(Device device, const CrossEntropyProblem& p, float* losses) {
  if (fast_on_cuda(device) && cuda::softmax_cross_entropy_forward(p, losses)) return;
  for_each(device, p.rows, Forward{p, losses}, 8 * p.K);
}
void softmax_cross_entropy_backward(Device device, const CrossEntropyProblem& p, const LossFactor& factor,
                                    float* dx) {
  if (fast_on_cuda(device) && cuda::softmax_cross_entropy_backward(p, factor, dx)) return;
  for_each(device, p.rows, Backward{p, factor, dx}, 8 * p.K);
}

}  // namespace espalier::kernels
