#include "train/tiny_training.h"

#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace espalier::test {

Model tiny_model(uint64_t seed, float drop) {
  Model model;
  model.task = "classification";
  model.labels = {"carrot", "leek", "turnip"};
  model.architecture = model.preprocessing = model.metrics = Json::object();
  model.lineage = Json::array();
  model.graph = build_graph(
      [drop](Scope s, const Tensor& x) -> Tensors {
        Tensor y = conv_bn(s / "stem", x, 8, {.kernel = 3, .stride = 2, .act = {.slope = 0, .cap = 6}});
        const Tensor z = depthwise_bn(s / "depthwise", y, {.kernel = 3, .act = {.slope = 0, .cap = 6}});
        y = add(y, conv_bn(s / "project", z, 8, {.kernel = 1}));
        y = global_avg_pool(y);
        if (drop > 0) y = dropout(y, drop, 1);
        return {fully_connected(s / "classifier", y, kTinyClasses)};
      },
      kTinySize, kTinySize, 3, seed);
  return model;
}

void TinySource::start(int epoch, int64_t first_batch) {
  epoch_ = same_every_epoch ? 0 : epoch;
  next_ = first_batch;
}

bool TinySource::next(Batch& batch) {
  if (next_ == batches_) return false;
  if (before) before(epoch_, next_);
  batch = {};
  std::vector<float> pixels;
  std::vector<int32_t> labels;
  for (int i = 0; i < batch_; ++i) {
    const int sample = static_cast<int>(next_) * batch_ + i;
    Random random(seed_, Purpose::kTest, static_cast<uint64_t>(epoch_), static_cast<uint64_t>(sample));
    const int label = random.below(kTinyClasses);
    for (int h = 0; h < kTinySize; ++h)
      for (int w = 0; w < kTinySize; ++w)
        for (int c = 0; c < 3; ++c)
          pixels.push_back(scale * static_cast<float>(std::cos((label + 1) * (h + 0.5 * w) / 3 + c) +
                                                      0.7 * random.normal()));
    labels.push_back(label);
    batch.names.push_back(str("picture ", sample));
    batch.samples.push_back(sample);
  }
  batch.images = Tensor::from(pixels, {batch_, kTinySize, kTinySize, 3});
  batch.targets = {Tensor::from(labels, {batch_})};
  ++next_;
  return true;
}

TrainOptions tiny_options(const std::filesystem::path& folder, int epochs) {
  TrainOptions o;
  o.epochs = epochs;
  o.optimizer = {.name = "sgd", .momentum = 0.9, .weight_decay = 1e-4};
  o.schedule = {.name = "cosine", .rate = 0.1, .warmup = 2, .warmup_unit = TimeUnit::kSteps};
  o.ema = 0.9;
  o.clip = 1;
  o.keep = KeptModel::kLast;
  o.folder = folder;
  o.tensorboard = false;
  o.checkpoint_minutes = 0;
  return o;
}

TinyRun run_tiny(const TrainOptions& options, float drop, const std::function<void(int, int64_t)>& before) {
  TinyRun run{tiny_model(1, drop), {}};
  TinySource data(6, 8, 1), eval(2, 16, 2);
  eval.same_every_epoch = true;
  data.before = before;
  const auto task = make_task("classification", kTinyClasses, Json::object());
  run.result = train(run.model, *task, data, eval, options);
  return run;
}

std::string bytes_of(const Graph& graph) {
  std::string bytes;
  for (const Graph::Value& v : graph.values)
    if (v.param.defined())
      bytes.append(static_cast<const char*>(v.param.data()), static_cast<size_t>(v.param.bytes()));
  return bytes;
}

}  // namespace espalier::test
