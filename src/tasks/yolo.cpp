#include "tasks/yolo.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "kernels/magnitudes.h"
#include "kernels/suppress.h"
#include "kernels/yolo_decode.h"
#include "tasks/pixel_map.h"
#include "tasks/task.h"

namespace espalier {

namespace {

float sigmoid_of(float x) { return 1.0f / (1.0f + std::exp(-x)); }

/// sigmoid(x) > threshold without a sigmoid for each of the many that are not.
float least_logit(float threshold) {
  return threshold > 0 ? std::log(threshold / (1 - threshold)) : -INFINITY;
}

/// Whether the GPU's kernels take them.
bool fits_gpu(const YoloLayout& layout, const NmsOptions& o) {
  return o.top_k <= kernels::kMostSuppressed &&
         std::all_of(layout.masks.begin(), layout.masks.end(),
                     [](const auto& mask) { return mask.size() <= size_t{kernels::kMostAnchors}; });
}

std::vector<ObjectBox> suppressed_on_gpu(const DecodedYolo& decoded, const NmsOptions& o) {
  const Device device = decoded.scores.device();
  const int classes = decoded.scores.shape()[0], keep = std::min(o.keep, o.top_k);
  constexpr int kFloats = sizeof(kernels::KeptBox) / sizeof(float);
  const Tensor kept({classes, keep, kFloats}, device), counts({classes}, device, DType::kS32);
  kernels::suppress_on_gpu({.boxes = decoded.scores.shape()[1],
                            .classes = classes,
                            .corners = decoded.corners.f32(),
                            .scores = decoded.scores.f32(),
                            .threshold = o.score_threshold,
                            .overlap = o.overlap,
                            .top_k = o.top_k,
                            .keep = keep,
                            .plus = o.inclusive ? 1.0f : 0.0f},
                           reinterpret_cast<kernels::KeptBox*>(kept.f32()), counts.s32());
  const Tensor boxes = kept.to(Device::kCpu), found = counts.to(Device::kCpu);
  std::vector<ObjectBox> all;
  for (int k = 0; k < classes; ++k)
    for (int i = 0; i < found.s32()[k]; ++i) {
      const float* b = boxes.f32() + (int64_t{k} * keep + i) * kFloats;
      all.push_back({b[0], b[1], b[2], b[3], k, b[4]});
    }
  keep_best(all, o.keep);
  return all;
}

}  // namespace

YoloLayout YoloLayout::of(int classes) {
  return {classes,
          {{10, 13}, {16, 30}, {33, 23}, {30, 61}, {62, 45}, {59, 119}, {116, 90}, {156, 198}, {373, 326}},
          {{6, 7, 8}, {3, 4, 5}, {0, 1, 2}},
          {32, 16, 8}};
}

void YoloLayout::check(const Tensors& heads) const {
  ESPALIER_CHECK(heads.size() == masks.size(), "detection: the network has ", heads.size(), " outputs, and ",
                 masks.size(), " anchor_masks are given; one a head is needed");
  for (size_t i = 0; i < heads.size(); ++i) {
    const Shape& s = heads[i].shape();
    const int channels = static_cast<int>(masks[i].size()) * (5 + classes);
    ESPALIER_CHECK(s.axes() == 4 && s[3] == channels, "detection: head ", i, " is ", s, "; with ",
                   masks[i].size(), " anchors and ", classes, " classes it needs ", channels, " channels");
    const Shape& first = heads[0].shape();
    ESPALIER_CHECK(s[0] == first[0] && s[1] * strides[i] == first[1] * strides[0] &&
                       s[2] * strides[i] == first[2] * strides[0],
                   "detection: head ", i, " is ", s, " at stride ", strides[i], ", head 0 ", first,
                   " at stride ", strides[0], "; they are for pictures of different sizes");
  }
}

Candidates decode_yolo(const YoloLayout& layout, const Tensors& heads, int image, const Annotation& picture,
                       float threshold, bool inclusive, const std::string& name) {
  check_picture(picture, name);
  const float right = static_cast<float>(picture.width - inclusive),
              bottom = static_cast<float>(picture.height - inclusive);
  const float least = least_logit(threshold);
  Candidates found;
  found.classes = layout.classes;
  for (size_t head = 0; head < heads.size(); ++head) {
    const Shape& s = heads[head].shape();
    const int step = 5 + layout.classes, H = s[1], W = s[2];
    const int64_t values = int64_t{H} * W * s[3];
    const float* x = heads[head].f32() + image * values;
    float bad = 0;  // what is not finite gives NaN when multiplied by 0
    for (int64_t i = 0; i < values; ++i) bad += x[i] * 0.0f;
    check_finite_output(bad == 0, name);
    const float stride = static_cast<float>(layout.strides[head]);
    for (int h = 0; h < H; ++h)
      for (int w = 0; w < W; ++w)
        for (const int anchor : layout.masks[head]) {
          const float* t = x;
          x += step;
          if (!(t[4] > least)) continue;
          const float cx = (static_cast<float>(w) + sigmoid_of(t[0])) * stride,
                      cy = (static_cast<float>(h) + sigmoid_of(t[1])) * stride,
                      half_w = std::exp(t[2]) * layout.anchors[anchor].first / 2,
                      half_h = std::exp(t[3]) * layout.anchors[anchor].second / 2;
          const ObjectBox box =
              box_in_file({cx - half_w, cy - half_h, cx + half_w, cy + half_h}, picture.to_network);
          const float x0 = std::clamp(box.x0, 0.0f, right), x1 = std::clamp(box.x1, 0.0f, right),
                      y0 = std::clamp(box.y0, 0.0f, bottom), y1 = std::clamp(box.y1, 0.0f, bottom);
          if (x1 <= x0 || y1 <= y0) continue;
          found.x0.push_back(x0);
          found.y0.push_back(y0);
          found.x1.push_back(x1);
          found.y1.push_back(y1);
          const float objectness = sigmoid_of(t[4]);
          for (int k = 0; k < layout.classes; ++k) found.scores.push_back(objectness * sigmoid_of(t[5 + k]));
        }
  }
  return found;
}

DecodedYolo decode_yolo_there(const YoloLayout& layout, const Tensors& heads, int image,
                              const Annotation& picture, float threshold, bool inclusive,
                              const std::string& name) {
  check_picture(picture, name);
  const Device device = heads[0].device();
  int64_t boxes = 0;
  for (size_t i = 0; i < heads.size(); ++i)
    boxes += heads[i].elements() / heads[i].shape()[0] / (5 + layout.classes);
  DecodedYolo decoded{Tensor({4, static_cast<int>(boxes)}, device),
                      Tensor({layout.classes, static_cast<int>(boxes)}, device)};
  const float end = inclusive ? 1 : 0;
  int64_t first = 0;
  for (size_t i = 0; i < heads.size(); ++i) {
    const Shape& s = heads[i].shape();
    const int64_t values = int64_t{s[1]} * s[2] * s[3];
    kernels::YoloDecodeProblem p{.head = heads[i].f32() + image * values,
                                 .H = s[1],
                                 .W = s[2],
                                 .A = static_cast<int>(layout.masks[i].size()),
                                 .classes = layout.classes,
                                 .stride = static_cast<float>(layout.strides[i]),
                                 .anchors = {},
                                 .scale_x = picture.to_network.scale_x,
                                 .scale_y = picture.to_network.scale_y,
                                 .offset_x = picture.to_network.offset_x,
                                 .offset_y = picture.to_network.offset_y,
                                 .right = static_cast<float>(picture.width) - end,
                                 .bottom = static_cast<float>(picture.height) - end,
                                 .least = least_logit(threshold),
                                 .boxes = boxes,
                                 .first = first};
    for (int a = 0; a < p.A; ++a)
      std::tie(p.anchors[2 * a], p.anchors[2 * a + 1]) =
          layout.anchors[static_cast<size_t>(layout.masks[i][static_cast<size_t>(a)])];
    check_finite_output(kernels::magnitude_range(device, values, p.head).finite, name);
    kernels::yolo_decode(device, p, decoded.corners.f32(), decoded.scores.f32());
    first += values / (5 + layout.classes);
  }
  return decoded;
}

std::vector<ObjectBox> detect_yolo(const YoloLayout& layout, const Tensors& heads, int image,
                                   const Annotation& picture, const NmsOptions& options,
                                   const std::string& name) {
  if (heads[0].device() == Device::kCuda && fits_gpu(layout, options))
    return suppressed_on_gpu(
        decode_yolo_there(layout, heads, image, picture, options.score_threshold, options.inclusive, name),
        options);
  Tensors host;
  for (const Tensor& head : heads) host.push_back(head.to(Device::kCpu));
  return suppress(decode_yolo(layout, host, image, picture, options.score_threshold, options.inclusive, name),
                  options);
}

}  // namespace espalier
