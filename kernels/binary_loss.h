#pragma once

#include <cstdint>

#include "kernels/loss_factor.h"

namespace espalier::kernels {

/// A logit and a label, 0 or 1, for each of N * M places.
struct BinaryProblem {
  int64_t N;              ///< images
  int64_t M;              ///< places of an image
  const float* logits;    ///< [N,M]
  const int32_t* labels;  ///< [N,M]
  int ignored_label;      ///< places with it cost nothing
};

/// losses[i] = max(x,0) - x y + log(1 + exp(-|x|)), 0 where ignored.
void sigmoid_cross_entropy_forward(Device device, const BinaryProblem& problem, float* losses);
/// dx[i] = factor * (sigmoid(x) - y), 0 where ignored.
void sigmoid_cross_entropy_backward(Device device, const BinaryProblem& problem, const LossFactor& factor,
                                    float* dx);

/// Sums of p y, p and y, p = sigmoid(x), over piece j of each image, ignored places left out: pieces are
/// kDicePiece places long, sums [N, pieces, 3].
constexpr int kDicePiece = 1024;
void dice_sums(Device device, const BinaryProblem& problem, float* sums);
/// From those sums, with both = sum of p y and all = sum of p + sum of y + eps of an image: loss = mean over
/// the images of 1 - 2 both / all, and slopes[n] = {-2 / all, 2 both / all^2} / N. Adds in double. After the
/// 2 N slopes come N floats of working memory.
void dice_mean(Device device, const BinaryProblem& problem, const float* sums, double eps, float* loss,
               float* slopes);
/// dx[i] = gradient * p (1 - p) (slopes[n,0] y + slopes[n,1]), 0 where ignored; slopes [N,2], gradient one
/// float on the device.
void dice_backward(Device device, const BinaryProblem& problem, const float* slopes, const float* gradient,
                   float* dx);

}  // namespace espalier::kernels
