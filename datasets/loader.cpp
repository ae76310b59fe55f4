#include "datasets/loader.h"

#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "io/image.h"

namespace espalier {

namespace {

/// Pictures after the transforms that are not random. Filled until the budget is spent, never emptied: which
/// ones are in it changes the speed and nothing else.
class ImageCache {
 public:
  ImageCache(size_t samples, int64_t budget) : slots_(budget > 0 ? samples : 0), left_(budget) {}
  ~ImageCache() {
    for (auto& slot : slots_) delete slot.load();
  }
  const Image* find(int sample) const {
    return slots_.empty() ? nullptr : slots_[sample].load(std::memory_order_acquire);
  }
  void offer(int sample, const Image& image) {
    if (slots_.empty()) return;
    const int64_t bytes = static_cast<int64_t>(image.pixels.size());
    if (left_.fetch_sub(bytes) < bytes) {
      left_.fetch_add(bytes);
      return;
    }
    const Image* copy = new Image(image);
    const Image* none = nullptr;
    if (!slots_[sample].compare_exchange_strong(none, copy, std::memory_order_release)) {
      left_.fetch_add(bytes);
      delete copy;
    }
  }

 private:
  std::vector<std::atomic<const Image*>> slots_;
  std::atomic<int64_t> left_;
};

/// A batch on its way: tasks fill it, the last one to finish announces it.
struct Pending {
  Batch batch;
  std::mutex mutex;
  std::condition_variable ready;
  int left = 0;
  int failed_at = -1;  // the first image in the batch's order that failed, whichever thread was faster
  std::exception_ptr error;

  void finish(int image, std::exception_ptr failure) {
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

/// As many as asked for, at most one a core.
int thread_count(int asked) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  // TBB keeps one core for its caller, but here the caller waits or computes elsewhere, so one worker more
  // may run. Kept for the life of the process: a smaller limit of one loader would hold for all others too.
  static const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                         static_cast<size_t>(cores) + 1);
  return asked > 0 ? std::min(asked, cores) : cores;
}

class Loader final : public BatchSource {
 public:
  Loader(Dataset data, Pipeline pipeline, const LoaderOptions& options)
      : data_(std::move(data)),
        pipeline_(std::move(pipeline)),
        options_(options),
        size_(pipeline_.output_size()),
        cache_(data_.samples.size(), options.cache_bytes),
        arena_(thread_count(options.threads), 0) {
    ESPALIER_CHECK(options.batch >= 1, "data.batch is ", options.batch, "; it must be at least 1");
    ESPALIER_CHECK(options.prefetch >= 1, "the loader's prefetch is ", options.prefetch,
                   "; it must be at least 1");
    ESPALIER_CHECK(size_.known(),
                   "transforms: the size of the result depends on the picture, so pictures do not "
                   "fit into one batch; add center_crop, resize or random_resized_crop");
    ESPALIER_CHECK(batches() > 0, data_.name, ": has ", data_.size(), " pictures, fewer than one batch of ",
                   options.batch, "; set data.batch to at most ", data_.size(), " or add pictures");
    order_.resize(data_.samples.size());
  }
  ~Loader() override { abandon(); }

  void start(int epoch, int64_t first_batch) override {
    ESPALIER_CHECK(first_batch >= 0 && first_batch <= batches(), data_.name, ": an epoch has ", batches(),
                   " batches, it cannot start at ", first_batch);
    abandon();
    epoch_ = epoch;
    std::iota(order_.begin(), order_.end(), 0);
    if (options_.shuffle) {
      Random random(options_.seed, Purpose::kShuffle, static_cast<uint64_t>(epoch));
      shuffle(order_, random);
    }
    issued_ = first_batch;
    started_ = true;
    for (int i = 0; i < options_.prefetch; ++i) issue();
  }

  bool next(Batch& batch) override {
    if (!started_) start(0, 0);
    if (queue_.empty()) return false;
    const std::shared_ptr<Pending> pending = queue_.front();
    queue_.pop_front();
    issue();
    pending->wait();
    batch = std::move(pending->batch);
    return true;
  }

  int64_t batches() const override {
    const int64_t n = data_.size(), b = options_.batch;
    return options_.drop_last ? n / b : (n + b - 1) / b;
  }
  int64_t samples() const override { return options_.drop_last ? batches() * options_.batch : data_.size(); }
  uint64_t hash() const override {
    const uint64_t both[] = {data_.hash, pipeline_.hash()};
    return fnv1a(both, sizeof both);
  }

 private:
  /// Sets the next batch of the epoch, if there is one, on its way.
  void issue() {
    if (issued_ >= batches()) return;
    const int64_t first = issued_++ * options_.batch;
    const int count = static_cast<int>(std::min<int64_t>(options_.batch, data_.size() - first));
    const auto pending = std::make_shared<Pending>();
    pending->left = count;
    Batch& batch = pending->batch;
    batch.images = Tensor({count, size_.height, size_.width, Image::kChannels});
    batch.samples.assign(order_.begin() + first, order_.begin() + first + count);
    std::vector<int32_t> labels;
    for (const int sample : batch.samples) {
      labels.push_back(data_.samples[sample].label);
      batch.names.push_back(data_.path(data_.samples[sample]).string());
    }
    batch.targets = {Tensor::from(labels, Shape{count})};
    queue_.push_back(pending);
    for (int i = 0; i < count; ++i)
      arena_.enqueue(tasks_->defer([this, pending, i] {
        std::exception_ptr failure;
        try {
          if (!abandoned_.load(std::memory_order_relaxed)) fill(pending->batch, i);
        } catch (...) {
          failure = std::current_exception();
        }
        pending->finish(i, failure);
      }));
  }

  void fill(const Batch& batch, int i) {
    const int index = batch.samples[i];
    float* slot = batch.images.f32() + int64_t{i} * size_.height * size_.width * Image::kChannels;
    Random random(options_.seed, Purpose::kAugment, static_cast<uint64_t>(epoch_),
                  static_cast<uint64_t>(index));
    const int fixed = pipeline_.deterministic_steps();
    const Image* cached = cache_.find(index);
    if (cached && !pipeline_.random()) return pipeline_.write(*cached, slot);
    LabelledImage sample{cached ? *cached : read_image(batch.names[i]), data_.samples[index].label};
    try {
      if (!cached) {
        pipeline_.run(sample, random, 0, fixed);
        cache_.offer(index, sample.image);
      }
      pipeline_.run(sample, random, fixed, pipeline_.steps());
    } catch (const Error& error) {
      throw Error(batch.names[i] + ": " + error.what());
    }
    pipeline_.write(sample.image, slot);
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
  const Size size_;
  ImageCache cache_;
  tbb::task_arena arena_;
  std::unique_ptr<tbb::task_group> tasks_ = std::make_unique<tbb::task_group>();  // its destructor may throw
  std::vector<int> order_;
  std::deque<std::shared_ptr<Pending>> queue_;
  std::atomic<bool> abandoned_ = false;
  int64_t issued_ = 0;  // batches of this epoch
  int epoch_ = 0;
  bool started_ = false;
};

}  // namespace

LoaderOptions train_loader_options(int batch, uint64_t seed, int64_t cache_bytes) {
  return {.batch = batch, .shuffle = true, .drop_last = true, .seed = seed, .cache_bytes = cache_bytes};
}

LoaderOptions eval_loader_options(int batch, int64_t cache_bytes) {
  return {.batch = batch, .cache_bytes = cache_bytes};
}

std::unique_ptr<BatchSource> make_loader(Dataset data, Pipeline pipeline, const LoaderOptions& options) {
  return std::make_unique<Loader>(std::move(data), std::move(pipeline), options);
}

}  // namespace espalier
