#pragma once
// What happens to a picture between the file and the network. A transform is a pure function of the picture
// with its annotation and of an explicit Draw; a Pipeline is a list of them, written as JSON in recipes and
// model files:
//
//   [{"name": "resize_short", "size": 256}, {"name": "center_crop", "size": 224}, {"name": "normalize"}]
//
// The last one is always normalize: it writes the floats that the network reads.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "datasets/labelled_image.h"
#include "kernels/pixels.h"
#include "tensor/tensor.h"

namespace espalier {

/// Width and height in pixels; {0, 0} when they depend on the picture.
struct Size {
  int width = 0, height = 0;
  bool known() const { return width > 0; }
  bool operator==(const Size&) const = default;
};

/// Receives every argument of a transform by name: reading, writing and describing are three visitors over
/// the same function. Bounds are inclusive.
class ArgumentVisitor {
 public:
  virtual ~ArgumentVisitor() = default;
  virtual void integer(const char* key, int& value, int low, int high, const char* help) = 0;
  virtual void number(const char* key, double& value, double low, double high, const char* help) = 0;
  virtual void choice(const char* key, std::string& value, const std::vector<std::string>& choices,
                      const char* help) = 0;
  virtual void numbers(const char* key, std::vector<double>& values, size_t count, double low, double high,
                       const char* help) = 0;  ///< a list of exactly `count`; 0: of one or more
  virtual void integers(const char* key, std::vector<int>& values, int low, int high,
                        const char* help) = 0;  ///< a list of one or more
};

/// The other picture of a mixup: an own one, or one that stays where it is.
class Partner {
 public:
  Partner(LabelledImage own) : own_(std::move(own)) {}
  Partner(const LabelledImage* lasting) : lasting_(lasting) {}
  const LabelledImage& picture() const { return lasting_ ? *lasting_ : own_; }

 private:
  LabelledImage own_;
  const LabelledImage* lasting_ = nullptr;
};

/// What one application of a transform draws on: the result is a function of the sample and this.
struct Draw {
  Random& random;    ///< the sample's own stream
  double batch = 0;  ///< in [0, 1), the same for all pictures of a batch
  int epoch = 0;     ///< of the training, from 0
  /// Another picture of the data set, picked with `random`; only mixup asks for it.
  std::function<Partner(Random&)> partner = {};
};

struct Transform {
  virtual ~Transform() = default;
  virtual const char* name() const = 0;
  virtual const char* help() const = 0;
  virtual void arguments(ArgumentVisitor& visitor) = 0;
  /// Called once after the arguments are read; throws Error when they do not fit together.
  virtual void prepare() {}
  /// `batch` as in Draw.
  virtual Size size_after(Size before, [[maybe_unused]] double batch) const { return before; }
  /// True when the result depends on the draw. Those that are not random may be cached.
  virtual bool random() const { return false; }
  /// True when it asks for a partner.
  virtual bool mixes() const { return false; }
  /// Every size that a batch may choose, when it chooses; else empty.
  virtual std::vector<int> batch_sizes() const { return {}; }
  /// Changes picture, boxes, mask and map together. The pixels may be pending or lent (LabelledImage::Frame):
  /// the functions of labelled_image.h know, anything else settles first; a ColorTransform need not care.
  virtual void apply(LabelledImage& sample, const Draw& draw) const = 0;
};

/// One that changes the pixels where they are, and nothing else.
struct ColorTransform : Transform {
  void apply(LabelledImage& sample, const Draw& draw) const final {
    sample.settle();
    change(sample.image, draw.random);
  }
  virtual void change(Image& image, Random& random) const = 0;
};

/// The random crop of a picture of the given size: its area is uniform in lower_scale .. 1 of the picture's,
/// its aspect ratio log-uniform in ratio_low .. ratio_high; after ten misfits the largest central crop within
/// the ratios (Szegedy et al., "Going deeper with convolutions", 2015, section 6).
Box random_crop_box(Size picture, double lower_scale, double ratio_low, double ratio_high, Random& random);

/// Factors of color_distort: 1, 1, 1 and 0 degrees change nothing.
struct ColorChange {
  double brightness = 1, contrast = 1, saturation = 1, hue_degrees = 0;
};
/// Brightness scales, contrast blends with the picture's mean grey, saturation with each pixel's own grey,
/// hue turns the chroma plane of YIQ. `order` is a permutation of "bcsh"; rounding and clipping happen once,
/// at the end.
void change_color(Image& image, const ColorChange& change, const std::string& order);

/// The mixture of two pictures on a canvas that holds both, black where neither is: `share` of `sample`, the
/// rest of `partner`. The boxes of both stay, their scores scaled by their shares (Zhang et al., "Bag of
/// freebies for training object detection neural networks", 2019). Throws Error for masks.
void mix(LabelledImage& sample, const LabelledImage& partner, double share);

/// Beta(a, b), by two gamma variates (Marsaglia and Tsang, "A simple method for generating gamma variables",
/// 2000); a and b at least 1.
double random_beta(double a, double b, Random& random);

/// A list of transforms, ready to run. Copies share the transforms, which never change.
class Pipeline {
 public:
  Pipeline() = default;  ///< empty: usable only to be assigned to
  /// Strict: an unknown name or key (with the nearest valid one), a wrong type or value out of range is an
  /// Error that begins with `place`, for example "data.transforms.eval". Missing keys take their defaults;
  /// null is no pipeline.
  explicit Pipeline(const Json& list, const std::string& place = "transforms");

  /// Complete: every argument is written out, defaults included, so that a model file stays valid when they
  /// change.
  Json to_json() const;
  uint64_t hash() const;  ///< of to_json()

  /// The size of the result for a batch that drew `batch`; not known() when it depends on the picture.
  Size output_size(double batch = 0) const;
  /// Every size that a batch may have; none when it depends on the picture.
  std::vector<Size> output_sizes() const;
  bool mixes() const;  ///< whether a Draw needs a partner
  /// How many leading transforms are not random.
  int deterministic_steps() const { return deterministic_steps_; }
  int steps() const { return static_cast<int>(steps_.size()); }
  bool random() const { return deterministic_steps_ < steps(); }

  /// Runs steps first .. last - 1 on 8-bit pixels; the final normalize is write()'s.
  void run(LabelledImage& sample, const Draw& draw, int first, int last) const;
  /// The final normalize: pixels to height * width * 3 floats.
  void write(const Image& image, float* out) const;
  /// What it multiplies by and adds, for who does it later.
  kernels::PixelScale pixel_scale() const;

  /// All of it, for one picture: [1,H,W,3].
  Tensor operator()(const Image& image, Random& random) const;
  /// The same for a pipeline without random steps; throws Error for one with.
  Tensor operator()(const Image& image) const;

 private:
  std::vector<std::shared_ptr<const Transform>> steps_;  // without the final normalize
  std::shared_ptr<const Transform> normalize_;
  int deterministic_steps_ = 0;
};

/// What a task ("classification", "detection", "segmentation") is trained with, for a network's input of
/// size x size pixels:
///   classification: random_resized_crop of 8 to 100 % of the area, flip, ImageNet's mean and deviation;
///   detection: mixup, color_distort, random_expand, random_iou_crop, one stretch a batch to a size of about
///     half of `size` up to it, in steps of 32, flip, ImageNet's mean and deviation;
///   segmentation: flip, a random scale, a random crop with padding, mean and deviation 0.5.
Json default_train_transforms(const std::string& task, int size);
/// And evaluated with: resize_short to size * 256 / 224 and center_crop; a stretch; resize_long and pad.
Json default_eval_transforms(const std::string& task, int size);

/// Every transform with its help and arguments (default, range, help), for `espalier data transforms`.
Json describe_transforms();

}  // namespace espalier
