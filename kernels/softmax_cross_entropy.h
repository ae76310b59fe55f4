#pragma once

#include <cstdint>

#include "kernels/loss_factor.h"

namespace espalier::kernels {

/// One loss over `rows` rows of K logits.
struct CrossEntropyProblem {
  int64_t rows;
  int K;
  const float* logits;    ///< [rows,K]
  const int32_t* labels;  ///< [rows]
  int ignored_label;      ///< rows with it cost nothing
  float label_smoothing;  ///< s: target 1 - s + s / K for the label, s / K elsewhere
  const float* weights;   ///< [K] or null; the weight of a row is its label's
};

/// losses[i] = weighted cross entropy of row i, 0 where ignored. Softmax by the largest logit of the row.
void softmax_cross_entropy_forward(Device device, const CrossEntropyProblem& problem, float* losses);

/// dx[i,k] = factor * weight * (softmax(logits[i])[k] - target[i,k]), 0 where ignored.
void softmax_cross_entropy_backward(Device device, const CrossEntropyProblem& problem,
                                    const LossFactor& factor, float* dx);

}  // namespace espalier::kernels
