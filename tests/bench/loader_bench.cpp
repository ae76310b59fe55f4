// Images a second of the loader alone, and of its parts on one core.
//
//   ninja bench_loader && tests/bench/bench_loader ROOT [threads] [seconds]     ROOT: a folder with
//   train_list.txt and labels.txt

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "datasets/loader.h"
#include "datasets/resample.h"

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

void run(const std::string& root, int threads, double seconds) {
  const Dataset data = open_dataset({.root = root}, Split::kTrain);
  const Pipeline train(default_train_transforms("classification", 224)),
      eval(default_eval_transforms("classification", 224));
  std::vector<Image> images;
  for (size_t i = 0; i < std::min<size_t>(64, data.samples.size()); ++i)
    images.push_back(read_image(data.path(data.samples[i])));
  const auto image = [&](int i) -> const Image& { return images[i % images.size()]; };
  std::vector<float> slot(224 * 224 * 3);
  Random random(1, Purpose::kAugment);

  std::printf("parts, one core, median ms an image (%dx%d pixels)\n", images[0].width, images[0].height);
  const auto part = [&](const char* what, const std::function<void(int)>& call) {
    std::printf("  %-32s %7.3f\n", what, milliseconds(call, seconds / 4));
  };
  part("read and decode", [&](int i) { read_image(data.path(data.samples[i % images.size()])); });
  part("resize to 256 bilinear", [&](int i) { resize(image(i), 256, 256, Filter::kBilinear); });
  part("resize to 256 bicubic", [&](int i) { resize(image(i), 256, 256, Filter::kBicubic); });
  const auto whole = [&](const Pipeline& pipeline) {
    return [&](int i) {
      LabelledImage sample{image(i)};
      pipeline.run(sample, {random}, 0, pipeline.steps());
      pipeline.write(sample.image, slot.data());
    };
  };
  part("training transforms", whole(train));
  part("evaluation transforms", whole(eval));
  const Pipeline distort(Json::array({{{"name", "random_resized_crop"}},
                                      {{"name", "color_distort"}, {"probability", 1.0}},
                                      {{"name", "random_rotate"}, {"probability", 1.0}},
                                      {{"name", "normalize"}}}));
  part("crop, distort, rotate", whole(distort));
  const Image small = resize(images[0], 224, 224, Filter::kBilinear);
  part("normalize", [&](int) { train.write(small, slot.data()); });

  const auto loader = [&](const char* what, const Pipeline& pipeline, LoaderOptions options) {
    options.threads = threads;
    const auto source = make_loader(data, pipeline, options);
    source->start(0);
    Batch batch;
    while (source->next(batch)) continue;  // warm: files in the page cache, pictures in ours
    std::printf("  %-32s %7.0f\n", what, images_per_second(*source, seconds));
  };
  std::printf("loader, batch 32, images/s\n");
  constexpr int64_t kCache = int64_t{1} << 30;
  loader("training", train, train_loader_options(32, 1));
  loader("training, cached", train, train_loader_options(32, 1, kCache));
  loader("evaluation", eval, eval_loader_options(32));
  loader("evaluation, cached", eval, eval_loader_options(32, kCache));
}

}  // namespace

}  // namespace espalier

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "bench_loader ROOT [threads] [seconds]\n");
    return 2;
  }
  try {
    espalier::run(arguments[1], count > 2 ? std::atoi(arguments[2]) : 0,
                  count > 3 ? std::atof(arguments[3]) : 2);
  } catch (const espalier::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
