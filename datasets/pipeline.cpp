// Pipeline: a list of transforms from JSON, and the final step from pixels to floats.

#include <algorithm>
#include <cassert>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/nearest.h"
#include "datasets/transform_table.h"

namespace espalier {

namespace {

/// x / 255, less the mean, divided by the deviation, per channel. Always the last step, so it is a function
/// of pixels to floats and not of pictures to pictures.
struct Normalize final : Transform {
  std::vector<double> mean = {0.485, 0.456, 0.406}, std = {0.229, 0.224, 0.225};

  const char* name() const override { return "normalize"; }
  const char* help() const override {
    return "x / 255, less the mean, divided by the standard deviation; always the last";
  }
  void arguments(ArgumentVisitor& v) override {
    v.numbers("mean", mean, 3, -10, 10, "of red, green, blue, as shares of 255");
    v.numbers("std", std, 3, 1e-6, 100, "of red, green, blue, as shares of 255");
  }
  void apply(LabelledImage&, const Draw&) const override { assert(!"normalize works on floats"); }
};

class Names final : public ArgumentVisitor {
 public:
  std::vector<std::string> names = {"name"};
  void integer(const char* key, int&, int, int, const char*) override { names.push_back(key); }
  void number(const char* key, double&, double, double, const char*) override { names.push_back(key); }
  void choice(const char* key, std::string&, const std::vector<std::string>&, const char*) override {
    names.push_back(key);
  }
  void numbers(const char* key, std::vector<double>&, size_t, double, double, const char*) override {
    names.push_back(key);
  }
  void integers(const char* key, std::vector<int>&, int, int, const char*) override { names.push_back(key); }
};

/// Reads what is there, leaves the rest at its default.
class ArgumentReader final : public ArgumentVisitor {
 public:
  ArgumentReader(const Json& json, std::string place) : json_(json), place_(std::move(place)) {}

  void integer(const char* key, int& value, int low, int high, const char* help) override {
    if (const Json* given = find(key)) value = one_integer(*given, at(key), low, high, help);
  }
  void number(const char* key, double& value, double low, double high, const char* help) override {
    if (const Json* given = find(key)) value = one_number(*given, at(key), low, high, help);
  }
  void choice(const char* key, std::string& value, const std::vector<std::string>& choices,
              const char* help) override {
    const Json* given = find(key);
    if (!given) return;
    ESPALIER_CHECK(given->is_string(), at(key), "is ", given->dump(), "; a name is expected (", help, ")");
    value = given->get<std::string>();
    ESPALIER_CHECK(std::find(choices.begin(), choices.end(), value) != choices.end(), at(key), "is '", value,
                   "'", did_you_mean(value, choices));
  }
  void numbers(const char* key, std::vector<double>& values, size_t count, double low, double high,
               const char* help) override {
    const Json* given = find(key);
    if (!given) return;
    const bool fits = given->is_array() && (count ? given->size() == count : !given->empty());
    ESPALIER_CHECK(fits, at(key), "is ", given->dump(), "; a list of ", count ? str(count, " ") : "",
                   "numbers is expected (", help, ")");
    values.resize(given->size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = one_number((*given)[i], at(key), low, high, help);
  }
  void integers(const char* key, std::vector<int>& values, int low, int high, const char* help) override {
    const Json* given = find(key);
    if (!given) return;
    ESPALIER_CHECK(given->is_array() && !given->empty(), at(key), "is ", given->dump(),
                   "; a list of whole numbers is expected (", help, ")");
    values.resize(given->size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = one_integer((*given)[i], at(key), low, high, help);
  }

 private:
  const Json* find(const char* key) const {
    const auto found = json_.find(key);
    return found == json_.end() ? nullptr : &*found;
  }
  std::string at(const char* key) const { return place_ + ": " + key + " "; }
  static int one_integer(const Json& given, const std::string& at, int low, int high, const char* help) {
    ESPALIER_CHECK(given.is_number_integer(), at, "is ", given.dump(), "; a whole number in ", low, " .. ",
                   high, " is expected (", help, ")");
    const int64_t number = given.get<int64_t>();
    ESPALIER_CHECK(number >= low && number <= high, at, "is ", number, "; it must lie in ", low, " .. ", high,
                   " (", help, ")");
    return static_cast<int>(number);
  }
  static double one_number(const Json& given, const std::string& at, double low, double high,
                           const char* help) {
    ESPALIER_CHECK(given.is_number(), at, "has ", given.dump(), " where a number in ", low, " .. ", high,
                   " is expected (", help, ")");
    const double value = given.get<double>();
    ESPALIER_CHECK(value >= low && value <= high, at, "has ", value, "; it must lie in ", low, " .. ", high,
                   " (", help, ")");
    return value;
  }

  const Json& json_;
  std::string place_;
};

class ArgumentWriter final : public ArgumentVisitor {
 public:
  Json json;
  void integer(const char* key, int& value, int, int, const char*) override { json[key] = value; }
  void number(const char* key, double& value, double, double, const char*) override { json[key] = value; }
  void choice(const char* key, std::string& value, const std::vector<std::string>&, const char*) override {
    json[key] = value;
  }
  void numbers(const char* key, std::vector<double>& values, size_t, double, double, const char*) override {
    json[key] = values;
  }
  void integers(const char* key, std::vector<int>& values, int, int, const char*) override {
    json[key] = values;
  }
};

class ArgumentDescriber final : public ArgumentVisitor {
 public:
  Json json = Json::object();
  void integer(const char* key, int& value, int low, int high, const char* help) override {
    json[key] = {{"default", value}, {"low", low}, {"high", high}, {"help", help}};
  }
  void number(const char* key, double& value, double low, double high, const char* help) override {
    json[key] = {{"default", value}, {"low", low}, {"high", high}, {"help", help}};
  }
  void choice(const char* key, std::string& value, const std::vector<std::string>& choices,
              const char* help) override {
    json[key] = {{"default", value}, {"choices", choices}, {"help", help}};
  }
  void numbers(const char* key, std::vector<double>& values, size_t count, double low, double high,
               const char* help) override {
    json[key] = {{"default", values}, {"low", low}, {"high", high}, {"help", help}};
    if (count) json[key]["count"] = count;
  }
  void integers(const char* key, std::vector<int>& values, int low, int high, const char* help) override {
    json[key] = {{"default", values}, {"low", low}, {"high", high}, {"help", help}};
  }
};

std::vector<std::string> known_names() {
  std::vector<std::string> names;
  for (const TransformEntry& entry : transform_table()) names.push_back(entry.name);
  names.push_back("normalize");
  return names;
}

std::shared_ptr<Transform> make_transform(const std::string& name) {
  if (name == "normalize") return std::make_shared<Normalize>();
  for (const TransformEntry& entry : transform_table())
    if (entry.name == name) return entry.make();
  return nullptr;
}

std::shared_ptr<Transform> read_transform(const Json& json, const std::string& place) {
  const Json object = json.is_string() ? Json{{"name", json}} : json;
  ESPALIER_CHECK(object.is_object() && object.contains("name") && object["name"].is_string(), place, ": is ",
                 json.dump(), "; expected {\"name\": ..., arguments}");
  const std::string name = object["name"];
  auto transform = make_transform(name);
  ESPALIER_CHECK(transform, place, ": unknown transform '", name, "'", did_you_mean(name, known_names()));
  const std::string inside = place + " (" + name + ")";
  Names known;
  transform->arguments(known);
  for (const auto& [key, value] : object.items())
    ESPALIER_CHECK(std::find(known.names.begin(), known.names.end(), key) != known.names.end(), inside,
                   ": unknown key '", key, "'", did_you_mean(key, known.names));
  ArgumentReader reader(object, inside);
  transform->arguments(reader);
  try {
    transform->prepare();
  } catch (const Error& error) {
    throw Error(inside + ": " + error.what());
  }
  return transform;
}

Json write_transform(const Transform& transform) {
  ArgumentWriter writer;
  writer.json["name"] = transform.name();
  const_cast<Transform&>(transform).arguments(writer);  // the writer only reads
  return writer.json;
}

}  // namespace

const std::vector<TransformEntry>& transform_table() {
  static const std::vector<TransformEntry> table = [] {
    std::vector<TransformEntry> all;
    for (auto& part : {common_transforms(), detection_transforms(), segmentation_transforms()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return table;
}

Pipeline::Pipeline(const Json& list, const std::string& place) {
  ESPALIER_CHECK(list.is_array() && !list.empty(), place, ": is ", list.dump(),
                 "; a list of transforms is expected that ends with normalize");
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string at = str(place, "[", i, "]");
    std::shared_ptr<Transform> transform = read_transform(list[i], at);
    const bool last = i + 1 == list.size(), is_normalize = dynamic_cast<Normalize*>(transform.get());
    ESPALIER_CHECK(last == is_normalize, at, ": ",
                   last ? str("the last transform is '", transform->name(), "'; it must be normalize")
                        : "normalize must be the last transform, nothing may follow it");
    if (last)
      normalize_ = transform;
    else
      steps_.push_back(transform);
  }
  while (deterministic_steps_ < steps() && !steps_[deterministic_steps_]->random()) ++deterministic_steps_;
  // So a partner is what the cache holds, and its making draws nothing.
  for (int i = deterministic_steps_ + 1; i < steps(); ++i)
    ESPALIER_CHECK(!steps_[i]->mixes(), place, "[", i, "]: ", steps_[i]->name(), " follows ",
                   steps_[deterministic_steps_]->name(),
                   ", which is random; mix before anything random happens");
}

Json Pipeline::to_json() const {
  Json list = Json::array();
  for (const auto& step : steps_) list.push_back(write_transform(*step));
  if (normalize_) list.push_back(write_transform(*normalize_));
  return list;
}

uint64_t Pipeline::hash() const {
  const std::string text = to_json().dump();
  return fnv1a(text.data(), text.size());
}

Size Pipeline::output_size(double batch) const {
  Size size;
  for (const auto& step : steps_) size = step->size_after(size, batch);
  return size;
}

std::vector<Size> Pipeline::output_sizes() const {
  size_t choices = 1;
  for (const auto& step : steps_) choices = std::max(choices, step->batch_sizes().size());
  std::vector<Size> sizes;
  for (size_t i = 0; i < choices; ++i) {
    const Size size = output_size((static_cast<double>(i) + 0.5) / static_cast<double>(choices));
    if (!size.known()) return {};
    if (std::find(sizes.begin(), sizes.end(), size) == sizes.end()) sizes.push_back(size);
  }
  return sizes;
}

bool Pipeline::mixes() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const auto& step) { return step->mixes(); });
}

void Pipeline::run(LabelledImage& sample, const Draw& draw, int first, int last) const {
  assert(first >= 0 && last <= steps());
  for (int i = first; i < last; ++i) steps_[i]->apply(sample, draw);
  sample.settle();
}

kernels::PixelScale Pipeline::pixel_scale() const {
  const auto& normalize = static_cast<const Normalize&>(*normalize_);
  kernels::PixelScale s;
  for (int c = 0; c < Image::kChannels; ++c) {
    s.scale[c] = static_cast<float>(1.0 / (255.0 * normalize.std[c]));
    s.shift[c] = static_cast<float>(-normalize.mean[c] / normalize.std[c]);
  }
  return s;
}

void Pipeline::write(const Image& image, float* out) const {
  kernels::scale_pixels(Device::kCpu, int64_t{image.width} * image.height, image.pixels.data(), pixel_scale(),
                        out);
}

Tensor Pipeline::operator()(const Image& image, Random& random) const {
  ESPALIER_CHECK(!mixes(), "transforms: mixup needs a second picture; take it out to prepare a single one");
  LabelledImage sample{image};
  run(sample, {random}, 0, steps());
  Tensor out({1, sample.image.height, sample.image.width, Image::kChannels});
  write(sample.image, out.f32());
  return out;
}

Tensor Pipeline::operator()(const Image& image) const {
  for (const auto& step : steps_)
    ESPALIER_CHECK(!step->random(), "transforms: '", step->name(),
                   "' is random, which is not for prediction; use the evaluation transforms");
  Random unused(0, Purpose::kAugment);
  return (*this)(image, unused);
}

Json describe_transforms() {
  Json all = Json::object();
  for (const std::string& name : known_names()) {
    const auto transform = make_transform(name);
    ArgumentDescriber describer;
    transform->arguments(describer);
    all[name] = {{"help", transform->help()}, {"arguments", describer.json}};
  }
  return all;
}

}  // namespace espalier
