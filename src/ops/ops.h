#pragma once
// Every operation in one sentence: the table of contents. Each has its class in the file named beside it.

#include <utility>
#include <vector>

#include "kernels/activation.h"
#include "kernels/conv_shape.h"
#include "ops/op.h"

namespace espalier {

struct ConvOptions {
  int stride = 1;
  Padding pad;
  Activation act;   ///< applied last
  Tensor bias;      ///< [K] or undefined
  Tensor residual;  ///< like y or undefined; added before the activation
};

/// Dense convolution: x [N,H,W,C], w [K,R,S,C] to [N,P,Q,K].                                       conv2d.cpp
Tensor conv2d(const Tensor& x, const Tensor& w, const ConvOptions& options = {});
/// One filter a channel: x [N,H,W,C], w [R,S,C] to [N,P,Q,C].                            depthwise_conv2d.cpp
Tensor depthwise_conv2d(const Tensor& x, const Tensor& w, const ConvOptions& options = {});
/// y = act(x w^T + bias): x [N,C], w [K,C], bias [K] or undefined, to [N,K]. linear.cpp
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {}, Activation act = {});

struct BatchNormOptions {
  float eps = 1e-5f;
  float momentum = 0.1f;  ///< PyTorch's: running = (1 - momentum) * running + momentum * batch
  Activation act;         ///< applied last
  Tensor residual;        ///< like x or undefined; added before the activation
};
/// Normalises each channel over N, H, W with batch statistics in training mode, which also updates mean and
/// variance in place (variance unbiased), and with mean and variance otherwise. batch_norm.cpp
Tensor batch_norm(const Tensor& x, const Tensor& scale, const Tensor& shift, const Tensor& mean,
                  const Tensor& variance, const BatchNormOptions& options = {});

/// min(x > 0 ? x : slope * x, cap). activation.cpp
Tensor activation(const Tensor& x, Activation act);
Tensor relu(const Tensor& x);
Tensor relu6(const Tensor& x);
Tensor leaky_relu(const Tensor& x, float slope);
Tensor sigmoid(const Tensor& x);

/// The same numbers as bf16 if x is f32, as f32 if it is bf16. cast.cpp
Tensor cast(const Tensor& x);
/// a + b of equal shapes. add.cpp
Tensor add(const Tensor& a, const Tensor& b);
/// Joins along the channels: [N,H,W,C0], [N,H,W,C1], ... to [N,H,W,C0+C1+...]. concat.cpp
Tensor concat(const Tensors& x);

struct PoolOptions {
  int kernel = 2, stride = 2;
  Padding pad;  ///< padded places never win
};
/// Largest value of each window, per channel. max_pool.cpp
Tensor max_pool(const Tensor& x, const PoolOptions& options = {});
/// Mean over H and W: [N,H,W,C] to [N,C]. global_avg_pool.cpp
Tensor global_avg_pool(const Tensor& x);

/// Nearest neighbour, source index floor(i * in / out): to [N,height,width,C]. resize.cpp
Tensor resize_nearest(const Tensor& x, int height, int width);
/// Bilinear, with corner pixels' centres aligned (UNet's) or half-pixel centres. resize.cpp
Tensor resize_bilinear(const Tensor& x, int height, int width, bool align_corners);
/// The same to the H and W of `like`, so that a traced graph runs at any input size. resize.cpp
Tensor resize_nearest_like(const Tensor& x, const Tensor& like);
Tensor resize_bilinear_like(const Tensor& x, const Tensor& like, bool align_corners);

/// Zeroes each element with probability p and scales the rest by 1 / (1 - p) in training mode; else identity.
/// The mask is a function of (seed, global training step), see set_dropout_step(). dropout.cpp
Tensor dropout(const Tensor& x, float probability, int seed = 0);
/// The step whose masks dropout draws; the training loop sets it, so that a resumed run draws the same.
void set_dropout_step(uint64_t seed, uint64_t step);

struct CrossEntropyOptions {
  float label_smoothing = 0;         ///< s: target 1 - s + s / K for the class, s / K elsewhere
  std::vector<float> class_weights;  ///< one a class, or empty
  int ignored_label = -1;            ///< rows with this label cost nothing
  float denominator_eps = 0;         ///< the reference's segmentation loss has 1e-5, on means over all rows
  bool plain_mean = false;           ///< class weights do not count in the mean's denominator
};
/// Mean over rows of softmax cross entropy: logits [...,K], labels s32 [...]; a scalar. Ignored rows do not
/// count in the mean; class weights multiply each row's loss and, as in PyTorch, count in the mean's
/// denominator unless `plain_mean`.
///                                                                                 softmax_cross_entropy.cpp
Tensor softmax_cross_entropy(const Tensor& logits, const Tensor& labels,
                             const CrossEntropyOptions& options = {});

/// Mean of sigmoid cross entropy: logits [N,...,1], labels s32 [N,...] of 0 and 1; a scalar. Ignored places
/// do not count; 0 when all are ignored. binary_loss.cpp
Tensor sigmoid_cross_entropy(const Tensor& logits, const Tensor& labels, int ignored_label = -1);
/// Mean over images of 1 - 2 sum(p y) / (sum(p) + sum(y) + 1e-5), p = sigmoid(logits), over the places of an
/// image that are not ignored (Milletari et al., 2016, without squares). binary_loss.cpp
Tensor dice_loss(const Tensor& logits, const Tensor& labels, int ignored_label = -1);

struct YoloLossOptions {
  std::vector<std::pair<float, float>> anchors;  ///< of all heads: width, height in the network's pixels
  std::vector<int> mask;                         ///< which of them are this head's
  int classes = 0;
  int downsample = 0;             ///< pixels of the network's picture per cell
  float ignore_threshold = 0.7f;  ///< predictions that overlap a box by more are no negatives
  bool label_smooth = false;      ///< class targets 1 - s and s, s = min(1 / classes, 1 / 40)
};
/// YOLOv3's loss (Redmon and Farhadi, 2018, with Paddle's weights) of one head, mean over images: head
/// [N,H,W,A*(5+classes)], channel = anchor * (5 + classes) + {tx, ty, tw, th, objectness, classes}; boxes
/// [N,M,6] = centre x, centre y, width, height as shares of the picture, class, score; rows of width or
/// height 0 are none. A box counts at the cell of its centre for the one anchor of all that fits its shape
/// best, and at no other head; its place costs (2 - width * height) * score, its class score. Objectness of
/// the cell is the score of its last box. A scalar; boxes have no gradient. yolo_loss.cpp
Tensor yolo_loss(const Tensor& head, const Tensor& boxes, const YoloLossOptions& options);

/// Knowledge distillation (Hinton et al., 2015): mean over the rows whose label is not the ignored one of T^2
/// KL(softmax(teacher / T) || softmax(logits / T)): logits and teacher [...,K], labels s32 [...], which
/// nothing else is read of; a single logit stands for two classes. A scalar; the teacher has no gradient.
/// distillation.cpp
Tensor distillation_loss(const Tensor& logits, const Tensor& teacher, const Tensor& labels, float temperature,
                         int ignored_label = -1);
/// The same of one YOLOv3 head, mean over images, in the parts of yolo_loss(): the divergence of every
/// objectness and, as far as the teacher sees an object (Mehta and Ozturk, 2018, who square differences), of
/// tx, ty and the classes, which alone are softened, and half the squared differences of tw and th. head and
/// teacher [N,H,W,A*(5+classes)]. A scalar; the teacher has no gradient. distillation.cpp
Tensor yolo_distillation_loss(const Tensor& head, const Tensor& teacher, int classes, float temperature);

/// What INT8 makes of x: scale * clamp(round(x / scale), low, high), with one scale [1], or one for each
/// position of `axis` of x. Its gradients are not those of the steps: x's is dy where nothing is clamped, the
/// scale's that of Esser et al., 2020, "Learned Step Size Quantization", divided by sqrt(elements of the
/// scale * high). fake_quantize.cpp
Tensor fake_quantize(const Tensor& x, const Tensor& scale, float low, float high, int axis = -1);

}  // namespace espalier
