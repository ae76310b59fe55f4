// Ten training steps against PyTorch's, from ESPALIER_GOLDEN or shared golden/.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "golden/formula.h"
#include "models/model_table.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "passes/fuse_training.h"
#include "passes/spread_batch_norms.h"
#include "runtime/session.h"

namespace espalier {

namespace {

using test::golden_file;
using test::uniform;

/// Our "block3/expand/norm/scale" as "features.3.body.0.1.weight", the golden files' name.
std::string golden_name(const Graph& graph, const std::string& ours) {
  static const std::map<std::string, std::string> norm = {
      {"scale", "weight"}, {"shift", "bias"}, {"mean", "running_mean"}, {"variance", "running_var"}};
  const std::string leaf = ours.substr(ours.rfind('/') + 1), place = ours.substr(0, ours.find('/'));
  const bool is_norm = ours.find("/norm/") != std::string::npos;
  const std::string end = is_norm ? "1." + norm.at(leaf) : "0.weight";
  if (place == "classifier") return leaf == "w" ? "fc.weight" : "fc.bias";
  if (place == "stem") return "features.0." + end;
  if (place == "head") return "features.18." + end;
  int layer = ours.find("/expand/") != std::string::npos      ? 0
              : ours.find("/depthwise/") != std::string::npos ? 1
                                                              : 2;
  if (graph.find(place + "/expand/w") < 0) --layer;
  return "features." + place.substr(5) + ".body." + std::to_string(layer) + "." + end;
}

/// Values numbered in PyTorch's layout (OIHW, or [C,1,R,S] for a depthwise filter), stored in ours.
std::vector<float> from_their_layout(const std::vector<double>& theirs, const Shape& ours) {
  std::vector<float> out(theirs.size());
  if (ours.axes() < 3) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(theirs[i]);
    return out;
  }
  const bool depthwise = ours.axes() == 3;
  const int O = depthwise ? ours[2] : ours[0], I = depthwise ? 1 : ours[3];
  const int R = depthwise ? ours[0] : ours[1], S = depthwise ? ours[1] : ours[2];
  size_t next = 0;
  for (int o = 0; o < O; ++o)
    for (int i = 0; i < I; ++i)
      for (int r = 0; r < R; ++r)
        for (int s = 0; s < S; ++s)
          out[depthwise ? (r * S + s) * O + o : ((o * R + r) * S + s) * I + i] =
              static_cast<float>(theirs[next++]);
  return out;
}

void fill_parameters(const Graph& graph, uint64_t seed) {
  for (const Graph::Value& v : graph.values) {
    if (!v.param.defined() || !v.trainable) continue;  // running statistics start at 0 and 1 as built
    const bool is_norm = v.name.find("/norm/") != std::string::npos;
    const int64_t fan_in = v.meta.shape.axes() == 3 ? v.meta.shape[0] * v.meta.shape[1]
                                                    : v.meta.shape.elements() / v.meta.shape[0];
    std::vector<double> values = uniform(golden_name(graph, v.name), v.param.elements(), seed);
    for (double& x : values) {
      const double u = 2 * x - 1;
      if (is_norm)
        x = v.name.ends_with("scale") ? 1 + 0.1 * u : 0.1 * u;
      else
        x = v.name.ends_with("bias") ? 0.1 * u : u * std::sqrt(6.0 / static_cast<double>(fan_in));
    }
    v.param.set(from_their_layout(values, v.meta.shape));
  }
}

double norm_of(const Tensor& t) {
  double sum = 0;
  for (float v : t.to_vector()) sum += double{v} * v;
  return std::sqrt(sum);
}

/// PyTorch's SGD with momentum and coupled weight decay, in plain loops: the optimizer under test elsewhere
/// is not trusted here.
void sgd_step(const std::vector<Tensor>& parameters, std::vector<std::vector<float>>& velocity,
              const nlohmann::json& golden) {
  const float lr = golden["lr"], momentum = golden["momentum"], decay = golden["weight_decay"];
  for (size_t i = 0; i < parameters.size(); ++i) {
    float* w = parameters[i].f32();
    const float* g = parameters[i].grad().f32();
    velocity[i].resize(static_cast<size_t>(parameters[i].elements()));
    for (size_t k = 0; k < velocity[i].size(); ++k) {
      velocity[i][k] = momentum * velocity[i][k] + (g[k] + decay * w[k]);
      w[k] -= lr * velocity[i][k];
    }
    parameters[i].clear_grad();
  }
}

struct Case {
  const char* file;
  const char* form;
  const char* passes;  ///< "plain", "fused", or "spread", which is what train/loop.cpp runs
};

class GoldenTraining : public testing::TestWithParam<Case> {};

TEST_P(GoldenTraining, TenStepsAgreeWithPyTorch) {
  const std::string path = golden_file(GetParam().file);
  std::ifstream in(path);
  if (!in) GTEST_SKIP() << "no golden files at " << path;
  const nlohmann::json golden = nlohmann::json::parse(in);
  const int batch = golden["batch"], size = golden["size"], classes = golden["classes"];
  const uint64_t seed = golden["seed"];

  ModelSpec spec{.name = "mobilenet_v2", .classes = classes, .options = {{"form", GetParam().form}}};
  const Graph stored = build_model(spec, size, 1);
  fill_parameters(stored, seed);
  Graph graph = stored;  // shares the parameters
  const std::string passes = GetParam().passes;
  if (passes != "plain") {
    EXPECT_GT(fuse_training(graph), 0);
  }
  if (passes == "spread") {
    EXPECT_GT(spread_batch_norms(graph), 0);
  }
  graph.require_gradients();

  // Their x is NCHW.
  const std::vector<double> numbers = uniform("x", int64_t{3} * batch * size * size, seed);
  std::vector<float> pixels(numbers.size());
  size_t next = 0;
  for (int n = 0; n < batch; ++n)
    for (int c = 0; c < 3; ++c)
      for (int h = 0; h < size; ++h)
        for (int w = 0; w < size; ++w)
          pixels[((static_cast<size_t>(n) * size + h) * size + w) * 3 + c] =
              static_cast<float>(4 * numbers[next++] - 2);
  const Tensor x = Tensor::from(pixels, {batch, size, size, 3});
  std::vector<int32_t> labels;
  for (double u : uniform("y", batch, seed)) labels.push_back(static_cast<int32_t>(u * classes));
  const Tensor y = Tensor::from(labels, {batch});

  const std::vector<Tensor> parameters = graph.trainable();
  std::vector<std::vector<float>> velocity(parameters.size());
  const auto& exact = golden["losses_float64"];
  const auto& rounded = golden["losses_float32"];
  double drift = 0;
  for (int step = 0; step < golden["steps"].get<int>(); ++step) {
    const TrainingMode training;
    const Tensor loss = softmax_cross_entropy(graph.run({x})[0], y);
    backward(loss);
    const double want = exact[step];
    drift = std::max(drift, std::abs(rounded[step].get<double>() - want) / std::abs(want));
    // The golden files ask for 5 * drift + 1e-5, drift being what one float32 run of PyTorch happened to
    // lose. The same PyTorch with channels last, which only rounds in another order, is at up to 2.7 times
    // that: hence four times.
    const double limit = 4 * (5 * drift + 1e-5) * std::abs(want), error = std::abs(loss.item() - want);
    EXPECT_TRUE(error <= limit) << "step " << step << ": loss " << loss.item() << ", PyTorch's " << want
                                << ", limit " << limit;
    if (step == 0) {
      int compared = 0;
      for (const Graph::Value& v : graph.values) {
        if (!v.trainable) continue;
        // The golden norms are of float64. PyTorch's own float32 run is up to 4.6e-3 away from them, because
        // rounding moves values across the kinks of ReLU6; a shift that another norm takes away has gradient
        // 0 but for rounding.
        const double norm = golden["first_gradient_norms"].at(golden_name(stored, v.name)),
                     got = norm_of(v.param.grad());
        EXPECT_TRUE(std::abs(got - norm) <= 1e-2 * norm + 1e-5)
            << v.name << ": " << got << ", PyTorch's " << norm;
        ++compared;
      }
      EXPECT_EQ(compared, static_cast<int>(golden["first_gradient_norms"].size()));
    }
    sgd_step(parameters, velocity, golden);
  }

  // Rounding has grown over ten steps; the norms of whole tensors hardly feel it.
  const double tolerance = 20 * drift + 1e-3;
  int compared = 0;
  for (const Graph::Value& v : stored.values) {
    if (!v.param.defined()) continue;
    const double norm = golden["final_norms"].at(golden_name(stored, v.name));
    EXPECT_TRUE(std::abs(norm_of(v.param) - norm) <= tolerance * norm + 1e-6)
        << v.name << ": " << norm_of(v.param) << ", PyTorch's " << norm;
    ++compared;
  }
  EXPECT_EQ(compared, static_cast<int>(golden["final_norms"].size()));

  const std::vector<double> theirs = golden["eval_output_sums_float64"][0];
  const double spread = std::abs(golden["eval_output_sums_float32"][0][1].get<double>() - theirs[1]);
  Session session(stored);
  double absolute = 0;
  for (float v : session.run({x})[0].to_vector()) absolute += std::abs(v);
  EXPECT_TRUE(std::abs(absolute - theirs[1]) <= 5 * spread + 1e-2 * theirs[1])
      << absolute << ", PyTorch's " << theirs[1];
}

INSTANTIATE_TEST_SUITE_P(
    MobileNetV2, GoldenTraining,
    testing::Values(Case{"train_mobilenet_v2.json", "paper", "plain"},
                    Case{"train_mobilenet_v2.json", "paper", "fused"},
                    Case{"train_mobilenet_v2.json", "paper", "spread"},
                    Case{"train_mobilenet_v2_reference_form.json", "reference", "spread"}),
    [](const auto& info) { return std::string(info.param.form) + "_" + info.param.passes; });

}  // namespace
}  // namespace espalier
