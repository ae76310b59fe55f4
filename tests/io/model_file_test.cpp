#include "io/model_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include "base/error.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "nn/layers.h"
#include "support/messages.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using test::expect_says;
using test::message_of;

Model small_model() {
  Model m;
  m.graph = build_graph(
      [](Scope s, const Tensor& x) {
        const Tensor y = conv_bn(s / "conv", x, 4, {.kernel = 3, .stride = 2, .act = Activation::relu6()});
        return Tensors{fully_connected(s / "classifier", global_avg_pool(add(y, y)), 3)};
      },
      8, 8, 3, 7);
  m.task = "classification";
  m.labels = {"a", "b \"quoted\"", "\xC3\xBC"};
  m.architecture = {{"name", "toy"}};
  m.task_options = {{"class_weights", {1, 2}}};
  m.preprocessing = Json::array({{{"name", "resize"}, {"size", 8}}});
  m.metrics = {{"top1", 0.5}};
  m.lineage = Json::array();
  return m;
}

class ModelFile : public testing::Test {
 protected:
  test::TemporaryDirectory folder;
  fs::path path = folder.path() / "model.safetensors";
};

void write_raw(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

TEST_F(ModelFile, ComesBackAsItWas) {
  const Model m = small_model();
  save_model(path, m);
  const Model back = load_model(path);
  EXPECT_EQ(back.graph.hash(), m.graph.hash());
  EXPECT_EQ(back.labels, m.labels);
  EXPECT_EQ(back.task, m.task);
  EXPECT_EQ(back.task_options, m.task_options);
  EXPECT_EQ(back.preprocessing, m.preprocessing);
  EXPECT_EQ(back.metrics, m.metrics);
  ASSERT_EQ(back.graph.trainable().size(), m.graph.trainable().size());
  const NoGrad no_grad;
  const Tensor x = test::random_tensor({2, 8, 8, 3}, Device::kCpu, 1);
  EXPECT_EQ(back.graph.run({x})[0].to_vector(), m.graph.run({x})[0].to_vector());
}

TEST_F(ModelFile, CutAtAnyByteIsRefused) {
  save_model(path, small_model());
  const std::string whole = read_file(path);
  const fs::path cut = folder.path() / "cut.safetensors";
  for (size_t length = 0; length < whole.size(); ++length) {
    write_raw(cut, whole.substr(0, length));
    EXPECT_THROW(load_model(cut), Error) << "cut to " << length << " of " << whole.size() << " bytes";
  }
}

TEST_F(ModelFile, AnyDamagedByteIsRefused) {
  save_model(path, small_model());
  const std::string whole = read_file(path);
  const fs::path damaged = folder.path() / "damaged.safetensors";
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    write_raw(damaged, bytes);
    EXPECT_THROW(load_model(damaged), Error) << "byte " << at;
  }
}

TEST_F(ModelFile, NamesTheTensorThatHoldsNaN) {
  const Model m = small_model();
  m.graph.values[m.graph.find("conv/w")].param.f32()[5] = std::numeric_limits<float>::quiet_NaN();
  save_model(path, m);
  try {
    load_model(path);
    FAIL() << "NaN was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("conv/w"), std::string::npos) << e.what();
  }
}

TEST_F(ModelFile, TaskOptionsAreAnObjectOrNone) {
  Model m = small_model();
  m.task_options = nullptr;
  save_model(path, m);
  EXPECT_TRUE(load_model(path).task_options.is_null());
  m.task_options = {1, 2};
  save_model(path, m);
  EXPECT_THROW(load_model(path), Error);
}

TEST_F(ModelFile, MetadataThatOthersRelyOnIsChecked) {
  const auto refused = [&](const std::function<void(Model&)>& edit, const std::string& message) {
    Model m = small_model();
    edit(m);
    save_model(path, m);
    expect_says(message_of([&] { load_model(path); }), path.string() + ": " + message);
  };
  refused([](Model& m) { m.architecture["classes"] = 4; },
          "it has 3 labels, and its network tells 4 classes");
  refused([](Model& m) { m.architecture["classes"] = "3"; }, "it has 3 labels");
  refused([](Model& m) { m.architecture = nullptr; }, "its architecture is null; expected an object");
  refused([](Model& m) { m.metrics = {1}; }, "its metrics is [1]; expected an object");
  refused([](Model& m) { m.lineage = {{{"stage", "train"}}, 1}; }, "its lineage is [{");
  refused([](Model& m) { m.lineage = "trained"; }, "its lineage is \"trained\"");
}

/// The message for a small model whose graph's description was changed by hand.
std::string message_of_graph(const fs::path& path, const std::function<void(Json&)>& edit) {
  save_model(path, small_model());
  Safetensors file = load_safetensors(path);
  Json graph = Json::parse(file.metadata.at("espalier.graph"));
  edit(graph);
  file.metadata["espalier.graph"] = graph.dump();
  save_safetensors(path, file);
  return message_of([&] { load_model(path); });
}

TEST_F(ModelFile, AnImpossiblePictureIsRefused) {
  const auto shape = [&](const Json& extents) {
    return message_of_graph(path, [&](Json& graph) { graph["inputs"][0][2] = extents; });
  };
  EXPECT_EQ(shape({1, 9, 7, 3}), "");
  EXPECT_EQ(shape({1, kLargestInput, 8, 3}), "");
  for (const Json& extents : {Json{1, 20000, 20000, 3}, Json{1, kLargestInput + 1, 8, 3}, Json{2, 8, 8, 3}})
    expect_says(shape(extents), path.string() + ": its input is f32");
  for (const Json& extents : {Json{1, -8, 8, 3}, Json{1, 2147483647, 2147483647, 3}})
    expect_says(shape(extents), path.string() + ": graph: 'image' is");
  for (const Json& extents : {Json{1, 4294967304, 8, 3}, Json{1, 8.5, 8, 3}, Json{1, "8", 8, 3}})
    expect_says(shape(extents), "stands where a whole number");
  expect_says(message_of_graph(path, [](Json& graph) { graph["inputs"] = Json::array(); }), path.string());
  expect_says(message_of_graph(path, [](Json& graph) { graph["outputs"] = Json::array(); }),
              path.string() + ": its graph has 1 inputs, 6 items and 0 outputs");
}

TEST_F(ModelFile, NumbersThatDoNotFitAreRefusedAndNotCut) {
  const auto attribute = [&](const char* name, const Json& value) {
    return message_of_graph(path, [&](Json& graph) { graph["items"][0][3][name] = value; });
  };
  EXPECT_EQ(attribute("stride", 1), "");
  for (const Json& value : {Json(4294967298), Json(2.5), Json("2"), Json(true)})
    expect_says(attribute("stride", value), "attribute 'stride' is");
  expect_says(attribute("slope", 1e300), "attribute 'slope' is 1e+300");
  expect_says(attribute("pad", {1, 1, 1}), "attribute 'pad' is");
  expect_says(attribute("pad", {1, 1, 2147483647, 1}), "the padding is 1,1,2147483647,1");
}

TEST_F(ModelFile, MetadataOfAHundredThousandBracketsIsRefused) {
  save_model(path, small_model());
  for (const char* key : {"graph", "metrics", "lineage"}) {
    Safetensors file = load_safetensors(path);
    file.metadata[str("espalier.", key)] = std::string(100'000, '[') + std::string(100'000, ']');
    const fs::path deep = folder.path() / "deep.safetensors";
    save_safetensors(deep, file);
    expect_says(message_of([&] { load_model(deep); }),
                str(deep.string(), ": its metadata is damaged: '", key));
  }
}

TEST_F(ModelFile, WhatIsNoOrdinaryFileIsNotWaitedFor) {
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  expect_says(message_of([&] { load_model(path); }), path.string() + ": is a pipe");
}

TEST_F(ModelFile, FullDiskLeavesTheOldFileAlone) {
  save_model(path, small_model());
  const std::string before = read_file(path);
  // A limit on the size of files is the full disk that a test can make.
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit tiny{1000, old.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &tiny);
  std::string message;
  try {
    save_model(path, small_model());
  } catch (const Error& e) {
    message = e.what();
  }
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find("free space"), std::string::npos) << message;
  EXPECT_EQ(read_file(path), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1)
      << "a temporary file was left";
}

TEST_F(ModelFile, MissingFolderIsAnError) {
  EXPECT_THROW(save_model(folder.path() / "no" / "model.safetensors", small_model()), Error);
  EXPECT_THROW(load_model(folder.path() / "no.safetensors"), Error);
  EXPECT_THROW(load_model(folder.path()), Error);
}

TEST_F(ModelFile, ForeignWeightsAreNoModel) {
  save_safetensors(path, {{{"w", Tensor::zeros({2})}}, {}});
  try {
    load_model(path);
    FAIL() << "weights without a graph were accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("no model of this program"), std::string::npos) << e.what();
  }
}

TEST_F(ModelFile, NewerFormatSaysSo) {
  save_model(path, small_model());
  Safetensors file = load_safetensors(path);
  file.metadata["espalier.format"] = "99";
  save_safetensors(path, file);
  try {
    load_model(path);
    FAIL() << "format 99 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("newer program"), std::string::npos) << e.what();
  }
}

TEST_F(ModelFile, EveryElementTypeComesBack) {
  Safetensors file;
  for (DType type : {DType::kF32, DType::kBF16, DType::kS8, DType::kU8, DType::kS32}) {
    const Tensor t({3, 5}, Device::kCpu, type);
    for (int64_t i = 0; i < t.bytes(); ++i)
      static_cast<uint8_t*>(t.data())[i] = static_cast<uint8_t>(i * 7 % 120);
    file.tensors.emplace_back(name(type), t);
  }
  save_safetensors(path, file);
  const Safetensors back = load_safetensors(path);
  ASSERT_EQ(back.tensors.size(), file.tensors.size());
  for (size_t i = 0; i < back.tensors.size(); ++i) {
    EXPECT_EQ(back.tensors[i].first, file.tensors[i].first);
    EXPECT_EQ(back.tensors[i].second.to_vector(), file.tensors[i].second.to_vector());
  }
}

TEST_F(ModelFile, OverlappingAndForeignTypedTensorsAreRefused) {
  const auto raw = [&](const std::string& header, size_t data) {
    const uint64_t n = header.size();
    write_raw(path, std::string(reinterpret_cast<const char*>(&n), 8) + header + std::string(data, '\0'));
  };
  raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
      12);
  EXPECT_THROW(load_safetensors(path), Error);
  raw(R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2);
  EXPECT_THROW(load_safetensors(path), Error);
  raw(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8);
  EXPECT_THROW(load_safetensors(path), Error);
  raw(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}})", 8);
  EXPECT_THROW(load_safetensors(path), Error);
  // 2 to the 64th elements, which 64 bits count as none.
  raw(R"({"a":{"dtype":"U8","shape":[1048576,1048576,16777216],"data_offsets":[0,0]}})", 0);
  expect_says(message_of([&] { load_safetensors(path); }), "impossible shape");
  raw(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1);
  expect_says(message_of([&] { load_safetensors(path); }),
              path.string() + ": tensor 'a' has an impossible shape");
  raw("[]", 0);
  expect_says(message_of([&] { load_safetensors(path); }), "no safetensors header");
  raw(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", 4);
  EXPECT_EQ(load_safetensors(path).tensors[0].second.dtype(), DType::kF32);
}

}  // namespace
}  // namespace espalier
