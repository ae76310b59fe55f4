#include "datasets/loader.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "datasets/pictures.h"
#include "support/kernel_settings.h"
#include "support/temporary_directory.h"
#include "tensor/allocator.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

constexpr int kPictures = 23;

struct LoaderTest : testing::Test {
  test::TemporaryDirectory folder;
  Dataset data;
  Pipeline train{Json::array({Json{{"name", "random_resized_crop"}, {"size", 9}},
                              Json{{"name", "random_horizontal_flip"}}, Json{{"name", "normalize"}}})};
  Pipeline eval{
      Json::array({Json{{"name", "resize"}, {"width", 9}, {"height", 7}}, Json{{"name", "normalize"}}})};
  /// The first step may be cached, the second may not.
  Pipeline mixed{
      Json::array({Json{{"name", "resize"}, {"width", 12}, {"height", 12}},
                   Json{{"name", "random_resized_crop"}, {"size", 9}}, Json{{"name", "normalize"}}})};

  void SetUp() override {
    std::string list;
    for (int i = 0; i < kPictures; ++i) {
      const std::string name = str(i, ".jpg");
      test::write_text(folder.path() / name, encode_jpeg(test::pattern(20 + i, 31 - i / 2, 100 + i, true)));
      list += str(name, " ", i % 3, "\n");
    }
    test::write_text(folder.path() / "train_list.txt", list);
    test::write_text(folder.path() / "labels.txt", "a\nb\nc\n");
    data = open_dataset({.root = folder.path()}, Split::kTrain);
  }
};

struct Epoch {
  std::vector<std::vector<int>> samples;
  std::vector<std::vector<float>> images, labels;
  std::vector<std::vector<std::string>> names;
  bool operator==(const Epoch&) const = default;
};

Epoch rest_of_epoch(BatchSource& source) {
  Epoch epoch;
  Batch batch;
  while (source.next(batch)) {
    epoch.samples.push_back(batch.samples);
    epoch.images.push_back(batch.images.to_vector());
    epoch.labels.push_back(batch.targets.at(0).to_vector());
    epoch.names.push_back(batch.names);
  }
  return epoch;
}

Epoch epoch_of(BatchSource& source, int epoch, int64_t first = 0) {
  source.start(epoch, first);
  return rest_of_epoch(source);
}

TEST_F(LoaderTest, EvaluationKeepsOrderAndTheLastPartialBatch) {
  const auto source = make_loader(data, eval, eval_loader_options(5));
  EXPECT_EQ(source->batches(), 5);
  EXPECT_EQ(source->samples(), kPictures);
  const Epoch first = rest_of_epoch(*source);  // start() is implied
  ASSERT_EQ(first.samples.size(), 5u);
  EXPECT_EQ(first.samples[4].size(), 3u);
  int at = 0;
  for (size_t b = 0; b < first.samples.size(); ++b)
    for (size_t i = 0; i < first.samples[b].size(); ++i, ++at) {
      EXPECT_EQ(first.samples[b][i], at);
      EXPECT_EQ(first.labels[b][i], at % 3);
      EXPECT_EQ(first.names[b][i], (folder.path() / str(at, ".jpg")).string());
      // A slot holds exactly what the pipeline makes of this picture.
      const std::vector<float> want = eval(read_image(first.names[b][i])).to_vector();
      const auto slot = first.images[b].begin() + static_cast<int64_t>(i * want.size());
      EXPECT_TRUE(std::equal(want.begin(), want.end(), slot)) << at;
    }
  EXPECT_EQ(epoch_of(*source, 1), first);
  Batch batch;
  EXPECT_FALSE(source->next(batch));
}

TEST_F(LoaderTest, TrainingVisitsEverySampleInANewOrder) {
  LoaderOptions options = train_loader_options(4, 1);
  const auto source = make_loader(data, train, options);
  EXPECT_EQ(source->batches(), 5);
  EXPECT_EQ(source->samples(), 20);
  const Epoch a = epoch_of(*source, 0), b = epoch_of(*source, 1);
  std::set<int> seen;
  for (const auto& batch : a.samples) {
    EXPECT_EQ(batch.size(), 4u);
    seen.insert(batch.begin(), batch.end());
  }
  EXPECT_EQ(seen.size(), 20u);
  EXPECT_NE(a.samples, b.samples);
  options.drop_last = false;
  EXPECT_EQ(make_loader(data, train, options)->batches(), 6);

  // The same picture is augmented anew in every epoch.
  options.shuffle = false;
  const auto ordered = make_loader(data, train, options);
  EXPECT_NE(epoch_of(*ordered, 0).images, epoch_of(*ordered, 1).images);
}

TEST_F(LoaderTest, IsAFunctionOfSeedAndEpochAlone) {
  for (const Pipeline& pipeline : {train, mixed}) {
    LoaderOptions options = train_loader_options(4, 5);
    options.threads = 1;
    const auto reference = make_loader(data, pipeline, options);
    const Epoch zero = epoch_of(*reference, 0), two = epoch_of(*reference, 2);
    for (const int threads : {2, 5})
      for (const int prefetch : {1, 7})
        for (const int64_t cache : {int64_t{0}, int64_t{5000}, int64_t{1} << 30}) {
          options.threads = threads;
          options.prefetch = prefetch;
          options.cache_bytes = cache;
          const auto source = make_loader(data, pipeline, options);
          EXPECT_EQ(epoch_of(*source, 2), two) << threads << " " << prefetch << " " << cache;
          EXPECT_EQ(epoch_of(*source, 0), zero) << threads << " " << prefetch << " " << cache;
          EXPECT_EQ(epoch_of(*source, 2), two) << "second time, from the cache";
        }
    options.seed = 6;
    EXPECT_NE(epoch_of(*make_loader(data, pipeline, options), 0).samples, zero.samples);
  }
}

TEST_F(LoaderTest, BytesAreTheSamePicturesBeforeNormalize) {
  LoaderOptions options = train_loader_options(4, 5);
  const auto floats = make_loader(data, train, options);
  options.bytes = true;
  const auto bytes = make_loader(data, train, options);
  floats->start(1);
  bytes->start(1);
  Batch want, got;
  while (floats->next(want)) {
    ASSERT_TRUE(bytes->next(got));
    EXPECT_EQ(got.images.dtype(), DType::kU8);
    EXPECT_TRUE(network_images(got, Device::kCpu).to_vector() == want.images.to_vector());
    EXPECT_TRUE(network_images(want, Device::kCpu).same(want.images)) << "nothing is left to do";
  }
  EXPECT_FALSE(bytes->next(got));
}

TEST_F(LoaderTest, ResumesInTheMiddleOfAnEpoch) {
  const auto source = make_loader(data, train, train_loader_options(4, 1));
  const Epoch whole = epoch_of(*source, 3);
  for (int first = 0; first <= 5; ++first) {
    const Epoch rest = epoch_of(*source, 3, first);
    ASSERT_EQ(rest.samples.size(), whole.samples.size() - first);
    for (size_t i = 0; i < rest.samples.size(); ++i) {
      EXPECT_EQ(rest.samples[i], whole.samples[first + i]);
      EXPECT_EQ(rest.images[i], whole.images[first + i]);
      EXPECT_EQ(rest.labels[i], whole.labels[first + i]);
    }
  }
  // Leaving an epoch half way leaves nothing behind.
  Batch batch;
  source->start(1);
  source->next(batch);
  EXPECT_EQ(epoch_of(*source, 3), whole);
  EXPECT_ERROR(source->start(0, 6), "an epoch has 5 batches, it cannot start at 6");
  EXPECT_ERROR(source->start(0, -1), "cannot start at -1");
}

TEST_F(LoaderTest, EpochsAfterOneAnotherAreThoseEnteredAnew) {
  const auto running = make_loader(data, train, train_loader_options(4, 3));
  for (const int epoch : {0, 1, 2, 5, 6, 6})
    EXPECT_EQ(epoch_of(*running, epoch),
              epoch_of(*make_loader(data, train, train_loader_options(4, 3)), epoch))
        << epoch;
  Batch batch;
  EXPECT_FALSE(running->next(batch)) << "the next epoch must be started";
}

TEST_F(LoaderTest, BatchesOwnTheirMemory) {
  const auto source = make_loader(data, eval, eval_loader_options(5));
  Batch first, second;
  source->next(first);
  const std::vector<float> before = first.images.to_vector();
  while (source->next(second)) continue;
  EXPECT_EQ(first.images.to_vector(), before);
}

TEST_F(LoaderTest, ASteadyStateAsksTheSystemForNothing) {
  const test::ReusedBlocks reused;
  const auto source = make_loader(data, train, train_loader_options(4, 1));
  epoch_of(*source, 0);
  const int64_t calls = allocator::statistics(Device::kCpu).system_calls;
  for (int epoch = 1; epoch < 5; ++epoch) {
    Batch batch;
    source->start(epoch);
    while (source->next(batch)) continue;
  }
  EXPECT_EQ(allocator::statistics(Device::kCpu).system_calls, calls);
}

TEST_F(LoaderTest, APictureThatGoesBadIsAnErrorOfItsBatch) {
  test::write_text(folder.path() / "11.jpg", "gone bad");
  test::write_text(folder.path() / "12.jpg", "gone bad too");
  for (const int threads : {1, 4}) {
    LoaderOptions options = eval_loader_options(5);
    options.threads = threads;
    const auto source = make_loader(data, eval, options);
    Batch batch;
    EXPECT_TRUE(source->next(batch));
    EXPECT_TRUE(source->next(batch));
    // Two of this batch are bad: always the first is named, whichever thread was faster.
    EXPECT_ERROR(source->next(batch), "11.jpg: is no JPEG, PNG or BMP picture");
    EXPECT_TRUE(source->next(batch));
    EXPECT_EQ(batch.samples[0], 15);
    source->start(0, 1);
    EXPECT_TRUE(source->next(batch));
    EXPECT_EQ(batch.samples[0], 5);
  }
}

TEST_F(LoaderTest, ErrorsOfATransformNameThePicture) {
  const Pipeline crop(
      Json::array({Json{{"name", "center_crop"}, {"size", 21}}, Json{{"name", "normalize"}}}));
  const auto source = make_loader(data, crop, eval_loader_options(5));
  Batch batch;
  EXPECT_ERROR(source->next(batch), "/0.jpg: center_crop: 21x21 does not fit into 20x31 pixels");
}

TEST_F(LoaderTest, RefusesWhatCannotWork) {
  EXPECT_ERROR(make_loader(data, train, train_loader_options(24, 1)),
               "has 23 pictures, fewer than one batch of 24; set batch to at most 23");
  EXPECT_NO_THROW(make_loader(data, eval, eval_loader_options(24)));
  EXPECT_ERROR(make_loader(data, train, eval_loader_options(0)), "data.batch is 0");
  const Pipeline open(Json::array({Json{{"name", "resize_short"}}, Json{{"name", "normalize"}}}));
  EXPECT_ERROR(make_loader(data, open, eval_loader_options(4)),
               "the size of the result depends on the picture");
}

TEST_F(LoaderTest, HashIsOfDataAndTransforms) {
  const auto source = make_loader(data, eval, eval_loader_options(5));
  LoaderOptions other = eval_loader_options(7);
  other.threads = 2;
  EXPECT_EQ(make_loader(data, eval, other)->hash(), source->hash());
  EXPECT_NE(make_loader(data, train, other)->hash(), source->hash());
  EXPECT_NE(make_loader(subset(data, 20, 1), eval, other)->hash(), source->hash());
}

TEST_F(LoaderTest, TwoLoadersAtOnce) {
  const auto a = make_loader(data, train, train_loader_options(4, 1));
  const auto b = make_loader(data, eval, eval_loader_options(3));
  const Epoch a_alone = epoch_of(*a, 0), b_alone = epoch_of(*b, 0);
  a->start(0);
  Batch batch;
  a->next(batch);
  EXPECT_EQ(epoch_of(*b, 0), b_alone);
  EXPECT_EQ(rest_of_epoch(*a).images, std::vector(a_alone.images.begin() + 1, a_alone.images.end()));
}

}  // namespace

}  // namespace espalier
