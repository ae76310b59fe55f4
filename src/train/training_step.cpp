#include "train/training_step.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/launch_graph.h"
#include "kernels/optimizer.h"
#include "ops/op.h"
#include "ops/targets.h"

namespace espalier {

namespace {

/// Detection at many sizes has one a size and number of boxes; what cannot come again should not pile up.
constexpr size_t kMostShapes = 64;

/// `from` itself on the CPU. On a GPU its values at an address that stays: a new tensor's, or `old`
/// overwritten.
Tensor placed(const Tensor& from, const Tensor& old, Device device) {
  if (device == Device::kCpu) return from;
  if (!old.defined()) return from.device() == device ? from.clone() : from.to(device);
  old.copy_from(from);
  return old;
}

}  // namespace

/// A step of one shape: where a GPU's batch lies, and its launches.
struct TrainingStep::Work {
  explicit Work(Device device) : table(device) {}

  Batch batch;   ///< on the device
  Tensors said;  ///< by the teacher
  LossMix losses;
  kernels::SliceTable table;
  kernels::LaunchGraph launches;
};

TrainingStep::TrainingStep(const Graph& graph, const Task& task, const Objective& objective,
                           Optimizer& optimizer, Ema* ema, double clip, Device device)
    : graph_(graph),
      task_(task),
      objective_(objective),
      optimizer_(optimizer),
      ema_(ema),
      device_(device),
      statistics_(graph),
      control_(device),
      ahead_(device) {
  control_.host().clip = clip;
  forget();
}

TrainingStep::~TrainingStep() = default;

void TrainingStep::forget() {
  works_.clear();
  blocks_.reset();
  if (device_ != Device::kCpu) blocks_ = std::make_unique<allocator::OwnBlocks>(device_);
}

int TrainingStep::recordings() const {
  return static_cast<int>(std::count_if(works_.begin(), works_.end(),
                                        [](const auto& w) { return w.second->launches.recorded(); }));
}

TrainingStep::Work& TrainingStep::work_for(const Batch& batch) {
  std::vector<int> key;
  if (device_ != Device::kCpu) {  // the CPU records nothing and takes the batch where it is
    const auto add = [&key](const Tensor& t) {
      const std::vector<int> extents = t.shape().vector();
      key.insert(key.end(), extents.begin(), extents.end());
      key.push_back(-1);
    };
    add(batch.images);
    for (const Tensor& target : batch.targets) add(target);
    if (works_.size() >= kMostShapes && !works_.contains(key)) forget();
  }
  std::unique_ptr<Work>& work = works_[key];
  if (!work) work = std::make_unique<Work>(device_);
  return *work;
}

Batch TrainingStep::on_device(const Batch& given) const {
  Batch batch = given;
  batch.images = network_images(given, device_);
  if (device_ == Device::kCpu) return batch;
  batch.targets = task_.checked_targets(given);
  for (Tensor& target : batch.targets) target = target.to(device_);
  return batch;
}

void TrainingStep::stage(const Batch& batch) {
  if (device_ == Device::kCpu) return;
  staged_ = staged_there_ = {};
  Batch sent = batch;
  const Tensor& images = batch.images;
  if (images.device() == Device::kCpu) {
    const void* there = ahead_.send(images.data(), static_cast<size_t>(images.bytes()));
    sent.images = Tensor::over(const_cast<void*>(there), images.meta(), device_);
    if (images.dtype() == DType::kF32)
      sent.images = sent.images.clone();  // bytes become floats elsewhere anyway
  }
  staged_there_ = on_device(sent);
  ahead_.taken();
  staged_ = batch;
}

Batch TrainingStep::take(const Batch& batch) {
  const bool is_staged = staged_.images.defined() && staged_.images.same(batch.images);
  Batch there = is_staged ? std::move(staged_there_) : on_device(batch);
  staged_ = staged_there_ = {};
  return there;
}

void TrainingStep::fill(Work& work, const Batch& batch) const {
  work.batch.images = placed(batch.images, work.batch.images, device_);
  work.batch.targets.resize(batch.targets.size());
  for (size_t i = 0; i < batch.targets.size(); ++i)
    work.batch.targets[i] = placed(batch.targets[i], work.batch.targets[i], device_);
  work.batch.names = batch.names;
  work.batch.samples = batch.samples;
  const Tensors said = objective_.ask(work.batch.images);
  work.said.resize(said.size());
  for (size_t i = 0; i < said.size(); ++i) work.said[i] = placed(said[i], work.said[i], device_);
}

void TrainingStep::forward_backward(Work& work) const {
  optimizer_.clear_gradients();
  const TrainingMode training;
  const CheckedTargets checked;
  work.losses = objective_.of(graph_.run({work.batch.images}), work.said, work.batch);
  work.losses.backward();
}

void TrainingStep::launch(Work& work) {
  forward_backward(work);
  optimizer_.gather(work.table);
  kernels::StepOutcome outcome{.losses = {},
                               .gradient_squares = kernels::square_sum(work.table),
                               .statistic_squares = statistics_.squares()};
  ESPALIER_CHECK(work.losses.losses.size() <= std::size(outcome.losses),
                 "training: ", work.losses.losses.size(), " losses; at most ", std::size(outcome.losses),
                 " are mixed");
  for (size_t i = 0; i < work.losses.losses.size(); ++i)
    outcome.losses[i] = {work.losses.losses[i].f32(), work.losses.shares[i]};
  kernels::judge_step(device_, outcome, control_.on_device());
  optimizer_.move(work.table, control_.on_device());
  if (ema_) ema_->move(control_.on_device());
}

StepResult TrainingStep::run(const Batch& given, double rate, const std::function<void()>& meanwhile) {
  const Batch batch = take(given);
  optimizer_.announce(rate, control_.host());
  if (ema_) ema_->announce(control_.host());
  control_.send();
  const auto attempt = [&](Work& work) {
    fill(work, batch);
    const auto all = [&] { launch(work); };
    if (!blocks_) {
      all();
    } else {
      const allocator::OwnBlocks::Scope scope(*blocks_);
      work.launches.run(all, [&] { work.table.flush(); });
    }
    optimizer_.clear_gradients();
    work.losses = {};
  };
  Work& work = work_for(batch);
  const bool others = works_.size() > 1;
  Tensors statistics;  // as they were: a step that ends half way has moved those of its first layers
  try {
    if (others && !work.launches.recorded())
      for (const Tensor& t : statistics_.all()) statistics.push_back(t.clone());
    attempt(work);
  } catch (const OutOfMemory&) {
    // What other shapes hold may be all that is missing.
    optimizer_.clear_gradients();
    forget();
    if (!others) throw;
    for (size_t i = 0; i < statistics.size(); ++i) statistics_.all()[i].copy_from(statistics[i]);
    attempt(work_for(batch));
  }
  control_.ask();  // before the next batch is sent, whose way takes a while
  if (meanwhile) meanwhile();
  control_.fetch();
  const kernels::StepControl& came = control_.host();
  return {came.loss, came.gradient_norm, came.finite != 0};
}

Tensor TrainingStep::repeat(const Batch& given) {
  const Batch batch = take(given);
  Work& work = work_for(batch);
  fill(work, batch);
  forward_backward(work);
  work.losses = {};
  return work.batch.images;
}

}  // namespace espalier
