#include "api/predictor.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "datasets/transforms.h"
#include "io/image.h"
#include "io/model_file.h"
#include "kernels/precision.h"
#include "runtime/session.h"
#include "tasks/task.h"
#include "tensor/device_choice.h"

namespace espalier {

namespace {

Device device_of(const PredictorOptions& options) {
  const std::optional<DeviceChoice> choice = device_choice(options.device);
  ESPALIER_CHECK(choice, "device is '", options.device, "'; expected auto, cpu, cuda or cuda:N");
  return take_device(*choice);
}

/// Taken before the session is made, which stores what it says.
void take_precision(const std::string& name) {
  ESPALIER_CHECK(name == "tf32" || name == "fp32" || name == "bf16", "precision is '", name,
                 "'; expected tf32, fp32 or bf16");
  kernels::set_precision(kernels::precision_from_name(name));
}

Json task_options(const Model& model, const std::string& given) {
  Json options = model.task_options.is_null() ? Json::object() : model.task_options;
  if (given.empty()) return options;
  const Json above = parse_json(given);
  ESPALIER_CHECK(above.is_object(), "task_options is '", given,
                 "'; a JSON object is expected, for example {\"score_threshold\": 0.3}");
  options.update(above);
  return options;
}

std::unique_ptr<Task> task_of(const Model& model, const std::string& file, const Json& options) try {
  return make_task(model.task, static_cast<int>(model.labels.size()), options);
} catch (const Error& e) {
  fail(file + ": " + e.what());
}

void check_pixels(const Pixels& picture) {
  ESPALIER_CHECK(picture.rgb && picture.width > 0 && picture.height > 0, "a picture of ", picture.width, "x",
                 picture.height, " pixels", picture.rgb ? "" : " at no address", " was given; it needs some");
  ESPALIER_CHECK(int64_t{picture.width} * picture.height <= kMaxPixels, "a picture of ", picture.width, "x",
                 picture.height, " pixels was given; ", kMaxPixels, " are the most");
  const size_t row = size_t(picture.width) * Image::kChannels;
  ESPALIER_CHECK(picture.row_bytes == 0 || picture.row_bytes >= row, "row_bytes is ", picture.row_bytes,
                 "; rows of ", picture.width, " pixels have at least ", row);
}

Image copy_of(const Pixels& picture) {
  check_pixels(picture);
  Image image = Image::unset(picture.width, picture.height);
  const size_t row = size_t(picture.width) * Image::kChannels;
  const size_t step = picture.row_bytes ? picture.row_bytes : row;
  for (int y = 0; y < picture.height; ++y)
    std::memcpy(image.at(0, y), picture.rgb + static_cast<size_t>(y) * step, row);
  return image;
}

}  // namespace

struct Predictor::Impl {
  std::string task_name, device_name;
  std::vector<std::string> labels;
  int threads;
  Pipeline pipeline;
  std::unique_ptr<Task> task;
  Session session;

  Impl(const Model& model, const std::string& file, const PredictorOptions& options, Device device)
      : task_name(model.task),
        device_name(name(device)),
        labels(model.labels),
        threads(options.threads),
        pipeline(model.preprocessing, file + ": preprocessing"),
        task(task_of(model, file, task_options(model, options.task_options))),
        session(model.graph.to(device)) {
    ESPALIER_CHECK(!pipeline.random(), file, ": its preprocessing is random, which is not for prediction");
    ESPALIER_CHECK(threads >= 0, "threads is ", threads, "; 0 or more are expected");
  }

  LabelledImage prepared(Image image) const {
    LabelledImage sample{std::move(image)};
    Random unused(0, Purpose::kAugment);
    pipeline.run(sample, {unused}, 0, pipeline.steps());
    return sample;
  }

  std::vector<Prediction> run(std::span<const Pixels> pictures) {
    std::optional<kernels::Threads> limit;
    if (threads > 0) limit.emplace(threads);
    Tensor input;
    std::vector<PixelMap> maps;
    for (size_t i = 0; i < pictures.size(); ++i) {
      const LabelledImage sample = prepared(copy_of(pictures[i]));
      const int width = sample.image.width, height = sample.image.height;
      if (i == 0) input = Tensor({static_cast<int>(pictures.size()), height, width, Image::kChannels});
      ESPALIER_CHECK(width == input.shape()[2] && height == input.shape()[1], "pictures 0 and ", i,
                     " are for the network ", input.shape()[2], "x", input.shape()[1], " and ", width, "x",
                     height, "; give pictures of several sizes one by one");
      pipeline.write(sample.image, input.f32() + int64_t(i) * width * height * Image::kChannels);
      maps.push_back(sample.to_network);
    }
    const Tensors& outputs = session.run({input});
    std::vector<Prediction> predictions;
    for (size_t i = 0; i < pictures.size(); ++i)
      predictions.push_back(task->decode(outputs, static_cast<int>(i),
                                         {pictures[i].width, pictures[i].height, {}, {}, maps[i]}));
    return predictions;
  }
};

Predictor::Predictor(const std::filesystem::path& model, const PredictorOptions& options) {
  const Device device = device_of(options);
  take_precision(options.precision);
  impl_ = std::make_unique<Impl>(load_model(model), model.string(), options, device);
}

Predictor::~Predictor() = default;
Predictor::Predictor(Predictor&&) noexcept = default;
Predictor& Predictor::operator=(Predictor&&) noexcept = default;

const std::string& Predictor::task() const { return impl_->task_name; }
const std::vector<std::string>& Predictor::labels() const { return impl_->labels; }
const std::string& Predictor::device() const { return impl_->device_name; }

std::vector<Prediction> Predictor::predict(std::span<const Pixels> pictures) {
  return pictures.empty() ? std::vector<Prediction>() : impl_->run(pictures);
}

Prediction Predictor::predict(const Pixels& picture) { return std::move(impl_->run({&picture, 1}).front()); }

Prediction Predictor::predict_file(const std::filesystem::path& picture) {
  const Image image = read_image(picture);
  return predict({image.width, image.height, image.pixels.data()});
}

}  // namespace espalier
