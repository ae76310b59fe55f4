// Images a second of the loader alone, and of its parts on one core, with the task's default transforms.
//
//   ninja bench_loader && tests/bench/bench_loader ROOT [format] [size] [threads] [seconds]
//
// ROOT: a data set; format: image_list (as by default), voc, coco, segmentation_list; size: the network's,
// 224

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "datasets/loader.h"
#include "datasets/mask.h"

namespace espalier {

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Median of the milliseconds that one call takes.
double milliseconds(const std::function<void(int)>& call, double seconds) {
  std::vector<double> times;
  const double end = now() + seconds;
  for (int i = 0; now() < end || i < 5; ++i) {
    const double start = now();
    call(i);
    times.push_back((now() - start) * 1e3);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

double images_per_second(BatchSource& source, double seconds) {
  int64_t images = 0;
  int epoch = 0;
  source.start(epoch);
  Batch batch;
  source.next(batch);
  const double start = now();
  while (now() < start + seconds) {
    if (source.next(batch))
      images += batch.size();
    else
      source.start(++epoch);
  }
  return static_cast<double>(images) / (now() - start);
}

/// The parts of one pipeline, each on what the one before it left; in the pipeline some of them leave their
/// pixels to the next resize, so all together are faster than their sum.
void time_steps(const Json& list, const std::vector<LabelledImage>& samples, double seconds) {
  std::vector<double> times(list.size());
  const double end = now() + seconds;
  int rounds = 0;
  for (; now() < end || rounds < 20; ++rounds) {
    LabelledImage sample = samples[rounds % samples.size()].lend();
    Random random(1, Purpose::kAugment, 0, static_cast<uint64_t>(rounds));
    const auto partner = [&](Random& r) { return &samples[r.below(static_cast<int>(samples.size()))]; };
    const Draw draw{random, random.uniform(), 0, partner};
    for (size_t i = 0; i + 1 < list.size(); ++i) {
      const Pipeline step(Json::array({list[i], list.back()}));
      const double start = now();
      step.run(sample, draw, 0, 1);
      times[i] += now() - start;
    }
    std::vector<float> slot(sample.image.pixels.size());
    const Pipeline last(Json::array({list.back()}));
    const double start = now();
    last.write(sample.image, slot.data());
    times.back() += now() - start;
  }
  for (size_t i = 0; i < list.size(); ++i)
    std::printf("  %-32s %7.3f\n", list[i]["name"].get<std::string>().c_str(), 1e3 * times[i] / rounds);
}

void run(const std::string& root, const std::string& format, int size, int threads, double seconds) {
  const Dataset data =
      open_dataset({.format = format, .root = root, .on_error = OnError::kSkip}, Split::kTrain);
  const Json train = default_train_transforms(data.task, size),
             eval = default_eval_transforms(data.task, size);
  std::vector<LabelledImage> samples;
  for (size_t i = 0; i < std::min<size_t>(64, data.samples.size()); ++i) {
    const Sample& about = data.samples[i];
    samples.push_back({.image = read_image(data.path(about)), .label = about.label, .boxes = about.boxes});
    if (!about.mask.empty())
      samples.back().mask = read_mask(data.root / about.mask, static_cast<int>(data.labels.size()));
  }
  std::printf("%s, %s at %d, one core, ms an image\n", data.name.c_str(), data.task.c_str(), size);
  std::printf(
      "  %-32s %7.3f\n", "read and decode (median)",
      milliseconds([&](int i) { read_image(data.path(data.samples[i % samples.size()])); }, seconds / 4));
  std::printf(" training, means\n");
  time_steps(train, samples, seconds);
  std::printf(" evaluation, means\n");
  time_steps(eval, samples, seconds);

  const auto loader = [&](const char* what, const Json& transforms, LoaderOptions options) {
    options.threads = threads;
    const auto source = make_loader(data, Pipeline(transforms), options);
    source->start(0);
    Batch batch;
    while (source->next(batch)) continue;  // warm: files in the page cache, pictures in ours
    std::printf("  %-32s %7.1f\n", what, images_per_second(*source, seconds));
  };
  constexpr int64_t kCache = int64_t{2} << 30;
  const int count = data.task == "classification" ? 32 : 8;
  std::printf("loader, batch %d, %s threads, images/s\n", count, threads ? str(threads).c_str() : "all");
  loader("training", train, train_loader_options(count, 1));
  loader("training, cached", train, train_loader_options(count, 1, kCache));
  loader("evaluation", eval, eval_loader_options(count));
  loader("evaluation, cached", eval, eval_loader_options(count, kCache));
}

}  // namespace

}  // namespace espalier

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "bench_loader ROOT [format] [size] [threads] [seconds]\n");
    return 2;
  }
  const auto number = [&](int i, double fallback) { return count > i ? std::atof(arguments[i]) : fallback; };
  try {
    espalier::run(arguments[1], count > 2 ? arguments[2] : "image_list", static_cast<int>(number(3, 224)),
                  static_cast<int>(number(4, 0)), number(5, 2));
  } catch (const espalier::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
