#pragma once
// What the outputs of a student cost against those of a teacher.

#include <cstdint>

#include "kernels/loss_factor.h"

namespace espalier::kernels {

/// Rows of logits. One logit alone stands for two classes, whose logits are 0 and it.
struct DistillationProblem {
  int64_t rows;
  int K;
  const float* logits;    ///< [rows,K]
  const float* teacher;   ///< [rows,K]
  const int32_t* labels;  ///< [rows]
  int ignored_label;      ///< rows with it cost nothing
  float temperature;
};

/// losses[i] = T^2 sum over k of p_k (log p_k - log q_k), p = softmax(teacher / T), q = softmax(logits / T).
void distillation_forward(Device device, const DistillationProblem& problem, float* losses);
/// dx = factor * T (q - p).
void distillation_backward(Device device, const DistillationProblem& problem, const LossFactor& factor,
                           float* dx);

/// Predictors of a YOLOv3 head, (5 + classes) values each: tx, ty, tw, th, objectness, classes.
struct YoloDistillationProblem {
  int64_t predictors;
  int classes;
  const float *head, *teacher;
  float temperature;  ///< of the classes
};

/// losses[i] = D(objectness) + o (D(tx) + D(ty) + (dtw^2 + dth^2) / 2 + T^2 sum of D(class / T)), D the
/// divergence of sigmoid(x) from the teacher's, o the sigmoid of the teacher's objectness.
void yolo_distillation_forward(Device device, const YoloDistillationProblem& problem, float* losses);
/// dx = factor * the derivative of the losses' sum.
void yolo_distillation_backward(Device device, const YoloDistillationProblem& problem,
                                const LossFactor& factor, float* dx);

}  // namespace espalier::kernels
