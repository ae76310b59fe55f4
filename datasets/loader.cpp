#include "datasets/loader.h"

#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <deque>
#include <exception>
#include <iterator>
#include <mutex>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "datasets/image_cache.h"
#include "datasets/mask.h"

namespace espalier {

namespace {

/// A batch on its way: tasks fill it, the last one to finish announces it.
struct Pending {
  Batch batch;
  int epoch = 0;
  int64_t number = 0;  // of the epoch's batches
  Size size;
  double draw = 0;                            // Draw::batch
  std::vector<std::vector<ObjectBox>> boxes;  // detection: per image, in its final pixels
  std::mutex mutex;
  std::condition_variable ready;
  int left = 0;
  int failed_at = -1;  // the first image in the batch's order that failed, whichever thread was faster
  std::exception_ptr error;

  void finish(int image, const std::exception_ptr& failure) {
    const std::lock_guard lock(mutex);
    if (failure && (failed_at < 0 || image < failed_at)) {
      failed_at = image;
      error = failure;
    }
    if (--left == 0) ready.notify_one();
  }
  void wait() {
    std::unique_lock lock(mutex);
    ready.wait(lock, [&] { return left == 0; });
    if (error) std::rethrow_exception(error);
  }
};

/// One picture of it.
struct Job {
  std::shared_ptr<Pending> pending;
  int image = 0;
};

/// As many as asked for, at most one a core.
int thread_count(int asked) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  // TBB keeps one core for its caller, but here the caller waits or computes elsewhere, so one worker more
  // may run. Kept for the life of the process: a smaller limit of one loader would hold for all others too.
  static const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                         static_cast<size_t>(cores) + 1);
  return asked > 0 ? std::min(asked, cores) : cores;
}

/// [N,M,6] as in tasks/batch.h: rows beyond a picture's boxes are zero.
Tensor box_targets(const std::vector<std::vector<ObjectBox>>& boxes, const Size& size) {
  size_t most = 1;
  for (const auto& of_image : boxes) most = std::max(most, of_image.size());
  std::vector<float> rows(boxes.size() * most * 6);
  const float width = static_cast<float>(size.width), height = static_cast<float>(size.height);
  for (size_t i = 0; i < boxes.size(); ++i)
    for (size_t b = 0; b < boxes[i].size(); ++b) {
      const ObjectBox& box = boxes[i][b];
      const float row[] = {(box.x0 + box.x1) / 2 / width, (box.y0 + box.y1) / 2 / height, box.width() / width,
                           box.height() / height,         static_cast<float>(box.label),  box.score};
      std::copy(std::begin(row), std::end(row), rows.begin() + static_cast<int64_t>((i * most + b) * 6));
    }
  return Tensor::from(rows, {static_cast<int>(boxes.size()), static_cast<int>(most), 6});
}

class Loader final : public BatchSource {
 public:
  Loader(Dataset data, Pipeline pipeline, const LoaderOptions& options)
      : data_(std::move(data)),
        pipeline_(std::move(pipeline)),
        options_(options),
        cache_(data_.samples.size(), options.cache_bytes),
        threads_(thread_count(options.threads)),
        arena_(threads_, 0) {
    ESPALIER_CHECK(options.batch >= 1, "data.batch is ", options.batch, "; it must be at least 1");
    ESPALIER_CHECK(options.prefetch >= 1, "the loader's prefetch is ", options.prefetch,
                   "; it must be at least 1");
    ESPALIER_CHECK(!pipeline_.output_sizes().empty(),
                   "transforms: the size of the result depends on the picture, so pictures do not "
                   "fit into one batch; add center_crop, resize or random_resized_crop");
    batches_ = batch_count(data_.name, data_.size(), options);
    order_.resize(data_.samples.size());
  }
  ~Loader() override { abandon(); }

  void start(int epoch, int64_t first_batch) override {
    ESPALIER_CHECK(first_batch >= 0 && first_batch <= batches(), data_.name, ": an epoch has ", batches(),
                   " batches, it cannot start at ", first_batch);
    epoch_ = epoch;
    started_ = true;
    if (!queue_.empty() && queue_.front()->epoch == epoch && queue_.front()->number == first_batch) return;
    abandon();
    enter(epoch, first_batch);
    // Pictures differ much in what they cost, and batches leave in their order: while one slow picture holds
    // its batch, the other threads need some to do.
    constexpr int kAhead = 4;
    const int wanted = (kAhead * threads_ + options_.batch - 1) / options_.batch;
    for (int i = 0; i < std::max(options_.prefetch, wanted); ++i) issue();
  }

  bool next(Batch& batch) override {
    if (!started_) start(0, 0);
    if (queue_.empty() || queue_.front()->epoch != epoch_) return false;
    const std::shared_ptr<Pending> pending = queue_.front();
    queue_.pop_front();
    issue();
    pending->wait();
    if (data_.task == "detection") pending->batch.targets = {box_targets(pending->boxes, pending->size)};
    batch = std::move(pending->batch);
    return true;
  }

  int64_t batches() const override { return batches_; }
  int64_t samples() const override { return options_.drop_last ? batches() * options_.batch : data_.size(); }
  uint64_t hash() const override {
    const uint64_t both[] = {data_.hash, pipeline_.hash()};
    return fnv1a(both, sizeof both);
  }

 private:
  /// What issue() makes next.
  void enter(int epoch, int64_t first_batch) {
    issuing_ = epoch;
    issued_ = first_batch;
    std::iota(order_.begin(), order_.end(), 0);
    if (!options_.shuffle) return;
    Random random(options_.seed, Purpose::kShuffle, static_cast<uint64_t>(epoch));
    shuffle(order_, random);
  }

  /// Sets the next batch on its way. A training goes on with the next epoch, so that small data sets do not
  /// begin each with idle threads.
  void issue() {
    if (issued_ == batches() && options_.shuffle) enter(issuing_ + 1, 0);
    if (issued_ == batches()) return;
    const int64_t first = issued_++ * options_.batch;
    const int count = static_cast<int>(std::min<int64_t>(options_.batch, data_.size() - first));
    const auto pending = std::make_shared<Pending>();
    pending->epoch = issuing_;
    pending->number = first / options_.batch;
    pending->left = count;
    Random random(options_.seed, Purpose::kBatch, static_cast<uint64_t>(issuing_),
                  static_cast<uint64_t>(first));
    pending->draw = random.uniform();
    const Size size = pending->size = pipeline_.output_size(pending->draw);
    Batch& batch = pending->batch;
    batch.images = Tensor({count, size.height, size.width, Image::kChannels}, Device::kCpu,
                          options_.bytes ? DType::kU8 : DType::kF32);
    if (options_.bytes) batch.pixel_scale = pipeline_.pixel_scale();
    batch.samples.assign(order_.begin() + first, order_.begin() + first + count);
    std::vector<int32_t> labels;
    for (const int sample : batch.samples) {
      labels.push_back(data_.samples[sample].label);
      batch.names.push_back(data_.path(data_.samples[sample]).string());
    }
    if (data_.task == "classification") batch.targets = {Tensor::from(labels, Shape{count})};
    if (data_.task == "detection") pending->boxes.resize(count);
    if (data_.task == "segmentation")
      batch.targets = {Tensor({count, size.height, size.width}, Device::kCpu, DType::kS32)};
    if (options_.annotate && data_.task != "classification") batch.annotations.resize(count);
    queue_.push_back(pending);
    for (int i = 0; i < count; ++i) {
      {
        const std::lock_guard lock(jobs_mutex_);
        jobs_.push_back({pending, i});
      }
      arena_.enqueue(tasks_->defer([this] { do_oldest_job(); }));
    }
  }

  /// TBB takes tasks in no order that could be relied on, but the batch that is waited for must come first.
  void do_oldest_job() {
    Job job;
    {
      const std::lock_guard lock(jobs_mutex_);
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    std::exception_ptr failure;
    try {
      if (!abandoned_.load(std::memory_order_relaxed)) fill(*job.pending, job.image);
    } catch (...) {
      failure = std::current_exception();
    }
    job.pending->finish(job.image, failure);
  }

  void fill(Pending& pending, int i) const {
    const Batch& batch = pending.batch;
    const int index = batch.samples[i];
    Random random(options_.seed, Purpose::kAugment, static_cast<uint64_t>(pending.epoch),
                  static_cast<uint64_t>(index));
    const Draw draw{random, pending.draw, pending.epoch, [&](Random& r) { return partner(index, r); }};
    const PreparedImage* cached = cache_.find(index);
    PreparedImage own;
    if (!cached) own = prepare(index);
    if (!batch.annotations.empty()) annotate(cached ? *cached : own, index, pending.batch.annotations[i]);
    if (!pipeline_.random()) return write(cached ? cached->sample : own.sample, pending, i);
    LabelledImage sample;
    if (cached)
      sample = cached->sample.lend();
    else
      sample = std::move(own.sample);
    try {
      pipeline_.run(sample, draw, pipeline_.deterministic_steps(), pipeline_.steps());
    } catch (const Error& error) {
      throw Error(batch.names[i] + ": " + error.what());
    }
    write(sample, pending, i);
  }

  /// The picture from its file, after the steps that are not random.
  PreparedImage prepare(int index) const {
    const Sample& about = data_.samples[index];
    const std::string path = data_.path(about).string();
    PreparedImage prepared;
    LabelledImage& sample = prepared.sample;
    sample.image = read_image(path);
    sample.label = about.label;
    sample.boxes = about.boxes;
    if (!about.mask.empty())
      sample.mask = read_mask(data_.root / about.mask, static_cast<int>(data_.labels.size()));
    prepared.file_width = sample.image.width;
    prepared.file_height = sample.image.height;
    if (options_.annotate) prepared.file_mask = sample.mask;
    try {
      Random unused(0, Purpose::kAugment);
      pipeline_.run(sample, {unused}, 0, pipeline_.deterministic_steps());
    } catch (const Error& error) {
      throw Error(path + ": " + error.what());
    }
    cache_.offer(index, prepared);
    return prepared;
  }

  /// Another picture of the data set, for mixup; the same one when it is alone.
  Partner partner(int index, Random& random) const {
    const int others = static_cast<int>(data_.size()) - 1;
    if (others > 0) {
      const int other = random.below(others);
      index = other + (other >= index);
    }
    if (const PreparedImage* cached = cache_.find(index)) return &cached->sample;
    return prepare(index).sample;
  }

  void annotate(const PreparedImage& prepared, int index, Annotation& annotation) const {
    annotation.width = prepared.file_width;
    annotation.height = prepared.file_height;
    annotation.boxes = data_.samples[index].boxes;
    annotation.mask = prepared.file_mask;
    annotation.to_network = prepared.sample.to_network;
  }

  void write(const LabelledImage& sample, Pending& pending, int i) const {
    assert(sample.image.width == pending.size.width && sample.image.height == pending.size.height &&
           "a transform says another size than it makes");
    const int64_t pixels = int64_t{pending.size.width} * pending.size.height;
    const Tensor& images = pending.batch.images;
    const int64_t first = i * pixels * Image::kChannels;
    if (options_.bytes)
      std::copy(sample.image.pixels.begin(), sample.image.pixels.end(), images.u8() + first);
    else
      pipeline_.write(sample.image, images.f32() + first);
    if (!pending.boxes.empty())
      std::copy_if(sample.boxes.begin(), sample.boxes.end(), std::back_inserter(pending.boxes[i]),
                   [](const ObjectBox& box) { return !box.crowd; });
    if (data_.task == "segmentation") {
      int32_t* target = pending.batch.targets[0].s32() + i * pixels;
      std::copy(sample.mask.classes.begin(), sample.mask.classes.end(), target);
    }
  }

  /// Lets what is on its way come to nothing.
  void abandon() {
    abandoned_ = true;
    arena_.execute([&] { tasks_->wait(); });
    abandoned_ = false;
    queue_.clear();
  }

  const Dataset data_;
  const Pipeline pipeline_;
  const LoaderOptions options_;
  int64_t batches_ = 0;  ///< of an epoch
  mutable ImageCache cache_;
  const int threads_;
  tbb::task_arena arena_;
  std::unique_ptr<tbb::task_group> tasks_ = std::make_unique<tbb::task_group>();  // its destructor may throw
  std::vector<int> order_;
  std::deque<std::shared_ptr<Pending>> queue_;
  std::deque<Job> jobs_;  // one for each task that has not begun
  std::mutex jobs_mutex_;
  std::atomic<bool> abandoned_ = false;
  int epoch_ = 0;       // that next() gives
  int issuing_ = 0;     // that issue() is at, perhaps the one after
  int64_t issued_ = 0;  // batches of it
  bool started_ = false;
};

}  // namespace

LoaderOptions train_loader_options(int batch, uint64_t seed, int64_t cache_bytes) {
  return {.batch = batch, .shuffle = true, .drop_last = true, .seed = seed, .cache_bytes = cache_bytes};
}

LoaderOptions eval_loader_options(int batch, int64_t cache_bytes) {
  return {.batch = batch, .cache_bytes = cache_bytes, .annotate = true};
}

int64_t batch_count(const std::string& name, int64_t pictures, const LoaderOptions& options) {
  const int64_t n = pictures, b = options.batch;
  const int64_t batches = options.drop_last ? n / b : (n + b - 1) / b;
  ESPALIER_CHECK(batches > 0, name, ": has ", n, " pictures, fewer than one batch of ", b,
                 "; set batch to at most ", n, " or add pictures");
  return batches;
}

std::unique_ptr<BatchSource> make_loader(Dataset data, Pipeline pipeline, const LoaderOptions& options) {
  return std::make_unique<Loader>(std::move(data), std::move(pipeline), options);
}

}  // namespace espalier
