// What must hold for every op there is; the calls are those of op_cases.h.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "ops/autograd.h"
#include "ops/channel_ties.h"
#include "ops/op_cases.h"
#include "ops/ops.h"
#include "support/bf16.h"
#include "support/device_test.h"
#include "support/expect_close.h"
#include "support/gradients.h"
#include "support/kernel_settings.h"

namespace espalier::test {
namespace {

/// Within 2e-5 of the largest value: sums in another order.
::testing::AssertionResult same(const Tensor& got, const Tensor& want) {
  double largest = 0;
  for (float v : want.to_vector()) largest = std::max(largest, std::abs(double{v}));
  return expect_close(got, want, {2e-5, largest});
}

/// Outputs, then inputs as they are afterwards (running statistics move), then gradients.
struct Outcome {
  Tensors out, in, gradients;
};

Outcome run(const OpCase& c, const std::shared_ptr<Op>& op, int C, const Tensors& tensors) {
  const TrainingMode mode(c.training);
  set_dropout_step(1, 2);
  const std::vector<Input> inputs = c.inputs(C);
  Outcome o;
  for (size_t i = 0; i < tensors.size(); ++i) {
    o.in.push_back(tensors[i].clone());
    if (!inputs[i].constant) o.in.back().set_requires_grad();
  }
  o.out = espalier::apply(op, o.in);
  const auto is_leaf = [](const Tensor& t) { return t.requires_grad(); };
  if (!op->differentiable() || std::none_of(o.in.begin(), o.in.end(), is_leaf)) return o;
  Tensors dy;
  for (const Tensor& y : o.out) {
    Random random(5, Purpose::kTest);
    std::vector<float> values(static_cast<size_t>(y.elements()));
    for (float& v : values) v = static_cast<float>(random.normal());
    dy.push_back(Tensor::from(values, y.shape(), y.device()));
    if (y.dtype() == DType::kBF16) dy.back() = as_bf16(dy.back());
  }
  backward(o.out, dy);
  for (const Tensor& t : o.in)
    if (t.requires_grad()) o.gradients.push_back(t.grad());
  return o;
}

Outcome run(const OpCase& c, int C, Device device = Device::kCpu) {
  return run(c, c.make(C), C, c.tensors(C, device));
}

void expect_same(const Outcome& got, const Outcome& want) {
  ASSERT_EQ(got.out.size(), want.out.size());
  for (size_t i = 0; i < got.out.size(); ++i) {
    EXPECT_EQ(got.out[i].dtype(), want.out[i].dtype());
    EXPECT_TRUE(same(got.out[i], want.out[i])) << "output " << i;
  }
  for (size_t i = 0; i < got.in.size(); ++i)
    EXPECT_TRUE(same(got.in[i], want.in[i])) << "input " << i << " afterwards";
  ASSERT_EQ(got.gradients.size(), want.gradients.size());
  for (size_t i = 0; i < got.gradients.size(); ++i)
    EXPECT_TRUE(same(got.gradients[i], want.gradients[i])) << "gradient " << i;
}

TEST(EveryOp, HasACase) {
  std::set<std::string> covered;
  for (const OpCase& c : op_cases()) covered.insert(c.op);
  for (const std::string& name : op_names()) {
    EXPECT_TRUE(covered.contains(name)) << name << " has no case in tests/ops/op_cases.cpp";
    EXPECT_EQ(make_op(name)->name(), name);
  }
  EXPECT_THROW(make_op("no_such_op"), Error);
}

TEST(EveryOp, HasCasesThatMoveEveryAttribute) {
  std::map<std::string, std::set<std::string>> moved;
  for (const OpCase& c : op_cases()) {
    const Json before = attributes_to_json(*make_op(c.op)), now = c.attributes(3);
    for (const auto& [key, value] : now.items())
      if (before.at(key) != value) moved[c.op].insert(key);
  }
  for (const std::string& name : op_names()) {
    const Json attributes = attributes_to_json(*make_op(name));
    for (const auto& [key, value] : attributes.items())
      EXPECT_TRUE(moved[name].contains(key)) << name << ": " << key << " has its default in every case";
  }
}

TEST(EveryOp, MatchesWhatItInfers) {
  for (const OpCase& c : op_cases()) {
    SCOPED_TRACE(c.describe(37));
    const Tensors in = c.tensors(37, Device::kCpu);
    Metas metas;
    for (const Tensor& t : in) metas.push_back(t.meta());
    const Metas want = c.make(37)->infer(metas);
    const Tensors out = run(c, 37).out;
    ASSERT_EQ(out.size(), want.size());
    for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i].meta(), want[i]);
    EXPECT_GE(c.make(37)->macs(metas, want), 0);
  }
}

TEST(EveryOp, KeepsItsInputs) {
  for (const OpCase& c : op_cases()) {
    SCOPED_TRACE(c.describe(5));
    const std::vector<Input> inputs = c.inputs(5);
    const Tensors before = c.tensors(5, Device::kCpu), after = run(c, 5).in;
    for (size_t i = 0; i < before.size(); ++i) {
      const bool running_statistics = c.training && inputs[i].constant;
      EXPECT_EQ(before[i].to_vector() != after[i].to_vector(), running_statistics) << "input " << i;
    }
  }
}

// --- saving

TEST(EveryOpSavesAndLoads, RunsTheSameAfterwards) {
  for (const OpCase& c : op_cases()) {
    SCOPED_TRACE(c.describe(5));
    const std::shared_ptr<Op> op = c.make(5), loaded = make_op(c.op);
    const Json json = Json::parse(attributes_to_json(*op).dump());
    attributes_from_json(*loaded, json);
    EXPECT_EQ(attributes_to_json(*loaded), json);
    const Tensors in = c.tensors(5, Device::kCpu);
    const Outcome want = run(c, op, 5, in), got = run(c, loaded, 5, in);
    for (size_t i = 0; i < want.out.size(); ++i)
      EXPECT_EQ(got.out[i].to_vector(), want.out[i].to_vector()) << "output " << i;
  }
}

TEST(EveryOpSavesAndLoads, RefusesMissingUnknownAndIllTypedAttributes) {
  for (const OpCase& c : op_cases()) {
    const Json good = c.attributes(3);
    const auto refused = [&](const Json& json, const std::string& key) {
      try {
        attributes_from_json(*make_op(c.op), json);
      } catch (const Error& e) {
        const std::string text = e.what();
        EXPECT_EQ(text.rfind(c.op + ": ", 0), 0u) << text;
        EXPECT_NE(text.find("'" + key + "'"), std::string::npos) << text;
        return true;
      }
      return false;
    };
    Json more = good;
    more["colour"] = 3;
    EXPECT_TRUE(refused(more, "colour")) << c.op;
    for (const auto& [key, value] : good.items()) {
      Json less = good, wrong = good;
      less.erase(key);
      wrong[key] = Json::object();
      EXPECT_TRUE(refused(less, key)) << c.op << " without " << key;
      EXPECT_TRUE(refused(wrong, key)) << c.op << " with an object as " << key;
    }
  }
}

// --- gradients

struct EveryOpHasAGradientTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(EveryOpHasAGradientTest);

TEST_P(EveryOpHasAGradientTest, OfEveryOutputInEveryInput) {
  constexpr int C = 3;
  for (const OpCase& c : op_cases()) {
    SCOPED_TRACE(c.describe(C));
    const std::shared_ptr<Op> op = c.make(C);
    // Where a result is rounded, the gradient is not that of its steps: fake_quantize_test.cpp,
    // bf16_ops_test.cpp.
    if (!op->differentiable() || c.op == "fake_quantize" || c.op == "cast") continue;
    const TrainingMode mode(c.training);
    set_dropout_step(1, 2);
    const std::vector<Input> inputs = c.inputs(C);
    const Tensors tensors = c.tensors(C, GetParam());
    Tensors leaves;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (!inputs[i].constant) leaves.push_back(tensors[i]);
    ASSERT_FALSE(leaves.empty()) << "all inputs are constant";
    const Tensor only = espalier::apply(op, tensors)[0];
    EXPECT_TRUE(gradients_match([&] { return espalier::apply(op, tensors)[0]; }, leaves));
    for (size_t out = 1; out < espalier::apply(op, tensors).size(); ++out)
      EXPECT_TRUE(gradients_match([&] { return espalier::apply(op, tensors)[out]; }, leaves))
          << "output " << out;
  }
}

TEST(EveryOpHasAGradient, OrSaysThatItHasNone) {
  for (const OpCase& c : op_cases()) {
    const std::shared_ptr<Op> op = c.make(3);
    if (op->differentiable()) continue;
    EXPECT_EQ(c.op.find("quanti"), c.op.find_first_of("q")) << c.op << " is part of training graphs";
    Ctx ctx;
    try {
      op->backward(ctx, {});
      ADD_FAILURE() << c.op << " gave a gradient";
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).rfind(c.op + " has no gradient", 0), 0u) << e.what();
    }
  }
}

TEST(EveryOpHasAGradient, AndComputesOnlyWhatIsWanted) {
  for (const OpCase& c : op_cases()) {
    SCOPED_TRACE(c.describe(5));
    const std::shared_ptr<Op> op = c.make(5);
    if (!op->differentiable()) continue;
    const std::vector<Input> inputs = c.inputs(5);
    const Outcome all = run(c, 5);
    // Each input alone: its gradient is what it is among all.
    for (size_t wanted = 0, n = 0; wanted < inputs.size(); ++wanted) {
      if (inputs[wanted].constant) continue;
      OpCase alone = c;
      alone.inputs = [&](int C) {
        std::vector<Input> list = c.inputs(C);
        for (size_t i = 0; i < list.size(); ++i) list[i].constant = i != wanted;
        return list;
      };
      const Outcome one = run(alone, 5);
      ASSERT_EQ(one.gradients.size(), 1u);
      EXPECT_TRUE(same(one.gradients[0], all.gradients[n++])) << "input " << wanted;
    }
  }
}

// --- devices, fast paths, threads

constexpr int kChannels[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 255, 256, 257};

TEST(EveryOp, FastPathsMatchSharedBodies) {
  for (const OpCase& c : op_cases())
    for (const int C : kChannels) {
      SCOPED_TRACE(c.describe(C));
      const Outcome fast = run(c, C);
      const ReferenceKernels reference;
      expect_same(fast, run(c, C));
    }
}

struct EveryOpOnDeviceTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(EveryOpOnDeviceTest);

TEST_P(EveryOpOnDeviceTest, MatchesTheSharedBodyOnTheCpu) {
  for (const OpCase& c : op_cases())
    for (const int C : kChannels) {
      SCOPED_TRACE(c.describe(C));
      const Outcome got = run(c, C, GetParam());
      const ReferenceKernels reference;
      expect_same(got, run(c, C));
    }
}

TEST(EveryOp, RepeatsBitForBit) {
  const auto values = [](const Outcome& o) {
    std::vector<std::vector<float>> all;
    for (const Tensors* list : {&o.out, &o.in, &o.gradients})
      for (const Tensor& t : *list) all.push_back(t.to_vector());
    return all;
  };
  for (const int count : {1, 3})
    for (const OpCase& c : op_cases()) {
      SCOPED_TRACE(str(c.describe(37), ", ", count, " threads"));
      const kernels::Threads threads(count);
      EXPECT_EQ(values(run(c, 37)), values(run(c, 37)));
    }
}

// --- what sessions and INT8 take from an op

/// Whole numbers in an integer type.
Tensor as_codes(const Tensor& x, DType type) {
  const Tensor codes(x.shape(), Device::kCpu, type);
  for (int64_t i = 0; i < x.elements(); ++i)
    if (type == DType::kU8)
      codes.u8()[i] = static_cast<uint8_t>(x.f32()[i]);
    else
      codes.s8()[i] = static_cast<int8_t>(x.f32()[i]);
  return codes;
}

TEST(EveryOp, IsNeverNegativeWhereItSaysSo) {
  int said = 0;
  for (const OpCase& c : op_cases())
    for (const bool positive : {false, true}) {
      SCOPED_TRACE(str(c.describe(37), positive ? ", inputs of one sign" : ""));
      Tensors in = c.tensors(37, Device::kCpu);
      if (!c.make(37)->never_negative(std::vector<bool>(in.size(), positive))) continue;
      ++said;
      for (Tensor& t : in) {
        std::vector<float> values = t.to_vector();
        for (float& v : values) v = positive ? std::abs(v) : v;
        if (t.dtype() == DType::kF32) t = Tensor::from(values, t.shape(), Device::kCpu);
      }
      const std::vector<float> y = espalier::apply(c.make(37), in)[0].to_vector();
      EXPECT_GE(*std::min_element(y.begin(), y.end()), 0);
    }
  EXPECT_GT(said, 5);
}

TEST(EveryOp, DoesTheSameToCodes) {
  int moved = 0;
  for (const OpCase& c : op_cases()) {
    const std::shared_ptr<Op> op = c.make(37);
    const OpPtr on_codes = op->on_codes();
    if (!on_codes) continue;
    ++moved;
    for (const DType type : {DType::kU8, DType::kS8}) {
      SCOPED_TRACE(str(c.describe(37), " on ", name(type)));
      const std::vector<Input> inputs = c.inputs(37);
      Tensors numbers, codes;
      Random random(3, Purpose::kTest);
      for (const Input& input : inputs) {
        std::vector<float> values(static_cast<size_t>(input.shape.elements()));
        for (float& v : values)
          v = static_cast<float>(type == DType::kU8 ? random.below(256) : random.below(255) - 127);
        numbers.push_back(Tensor::from(values, input.shape, Device::kCpu));
        codes.push_back(input.constant ? numbers.back() : as_codes(numbers.back(), type));
      }
      const Tensor want = espalier::apply(op, numbers)[0], got = espalier::apply(on_codes, codes)[0];
      ASSERT_EQ(got.meta(), (Meta{want.shape(), type}));
      const std::vector<float> a = got.to_vector(), b = want.to_vector();
      for (size_t i = 0; i < a.size(); ++i) ASSERT_LE(std::abs(a[i] - b[i]), 0.5f + 1e-3f) << "element " << i;
    }
  }
  EXPECT_GE(moved, 4);
}

/// The outputs as f32 and the gradients of the inputs, those of these bits stored as bf16 on the way.
Tensors run_stored(const OpCase& c, const Tensors& numbers, uint32_t stored) {
  const TrainingMode mode(c.training);
  const std::vector<Input> inputs = c.inputs(37);
  Tensors leaves, in, out;
  for (size_t i = 0; i < numbers.size(); ++i) {
    leaves.push_back(numbers[i].clone());
    if (!inputs[i].constant) leaves.back().set_requires_grad();
    in.push_back(stored >> i & 1 ? cast(leaves.back()) : leaves.back());
  }
  for (const Tensor& y : espalier::apply(c.make(37), in))
    out.push_back(y.dtype() == DType::kBF16 ? cast(y) : y);
  Tensors dy, found = out;
  for (const Tensor& y : out) dy.push_back(short_tensor(y.shape(), y.device(), 99));
  backward(out, dy);
  for (const Tensor& leaf : leaves)
    if (leaf.requires_grad()) found.push_back(leaf.grad());
  return found;
}

TEST(EveryOp, TakesBf16WhereItSaysSo) {
  int said = 0;
  for (const OpCase& c : op_cases()) {
    const uint32_t free = c.make(37)->may_be_bf16();
    Tensors numbers = c.tensors(37, Device::kCpu);
    if (free == 0 || numbers[0].dtype() != DType::kF32) continue;
    ++said;
    SCOPED_TRACE(c.describe(37));
    for (size_t i = 0; i < numbers.size(); ++i)
      if (free >> i & 1) numbers[i] = as_f32(as_bf16(numbers[i]));
    const Tensors want = run_stored(c, numbers, 0), got = run_stored(c, numbers, free);
    for (size_t i = 0; i < want.size(); ++i) {
      double largest = 0;
      for (const float v : want[i].to_vector()) largest = std::max(largest, std::abs(double{v}));
      EXPECT_TRUE(expect_close(got[i], want[i], {2 * kBf16Relative, largest})) << "output or gradient " << i;
    }
  }
  EXPECT_GT(said, 5);
}

/// Output 0 of forward(), or of the prepared kernel, that writes where input `at` lies.
Tensor in_place(const Op& op, Tensors in, int at, bool prepared) {
  const Tensor y = in[at];
  if (prepared) {
    std::shared_ptr<void> packed;
    op.prepare({in, {y}, std::vector<bool>(in.size(), false), &packed})->run();
  } else {
    Ctx ctx;
    ctx.in = in;
    ctx.out = {y};
    op.forward(ctx);
  }
  return y;
}

TEST(EveryOp, MayWriteWhereItSaysSo) {
  int said = 0;
  for (const OpCase& c : op_cases()) {
    const int at = c.make(37)->overwrites();
    if (at < 0 || c.training) continue;
    ++said;
    for (const int C : {16, 37})
      for (const bool prepared : {false, true}) {
        SCOPED_TRACE(str(c.describe(C), prepared ? ", prepared" : ""));
        const Tensor want = run(c, C).out[0];
        const Tensors in = c.tensors(C, Device::kCpu);
        if (in[at].meta() != want.meta()) continue;  // a Session gives those memory of their own
        EXPECT_TRUE(same(in_place(*c.make(C), in, at, prepared), want));
      }
  }
  EXPECT_GE(said, 3);
}

// --- ties

bool is_loss(const std::string& op) { return op.ends_with("_entropy") || op.ends_with("_loss"); }

/// Removes positions of an axis.
Tensor without(const Tensor& t, int axis, const std::set<int>& gone) {
  Shape shape = t.shape();
  int64_t outer = 1, inner = bytes_of(t.dtype());
  for (int a = 0; a < axis; ++a) outer *= shape[a];
  for (int a = axis + 1; a < shape.axes(); ++a) inner *= shape[a];
  const int extent = shape[axis];
  shape[axis] -= static_cast<int>(gone.size());
  const Tensor left(shape, t.device(), t.dtype());
  const char* from = static_cast<const char*>(t.data());
  char* to = static_cast<char*>(left.data());
  for (int64_t o = 0; o < outer; ++o)
    for (int k = 0; k < extent; ++k, from += inner)
      if (!gone.contains(k)) to = std::copy(from, from + inner, to);
  return left;
}

/// Sets positions of an axis to zero.
void silence(const Tensor& t, int axis, const std::set<int>& which) {
  const Shape& shape = t.shape();
  int64_t outer = 1, inner = bytes_of(t.dtype());
  for (int a = 0; a < axis; ++a) outer *= shape[a];
  for (int a = axis + 1; a < shape.axes(); ++a) inner *= shape[a];
  char* at = static_cast<char*>(t.data());
  for (int64_t o = 0; o < outer; ++o)
    for (int k = 0; k < shape[axis]; ++k, at += inner)
      if (which.contains(k)) std::fill(at, at + inner, char{0});
}

TEST(EveryOp, LosesTiedChannelsAndNothingElse) {
  constexpr int C = 7;
  for (const OpCase& c : op_cases()) {
    const std::shared_ptr<Op> op = c.make(C);
    if (op->identity_in_inference() && c.training) continue;  // a mask belongs to positions
    SCOPED_TRACE(c.describe(C));
    const TrainingMode mode(c.training);
    const Tensors in = c.tensors(C, Device::kCpu);
    Metas metas;
    std::vector<int> inputs, outputs;
    for (const Tensor& t : in) inputs.push_back(static_cast<int>(metas.size())), metas.push_back(t.meta());
    for (const Meta& m : op->infer(metas))
      outputs.push_back(static_cast<int>(metas.size())), metas.push_back(m);
    ChannelTies ties;
    ties.begin_item(inputs, outputs, metas);
    op->channels(ties);

    // For each set of tied channels: where its members are.
    std::map<int, std::map<ChannelTies::Axis, std::set<int>>> sets;
    for (const ChannelTies::Axis& axis : ties.axes())
      for (int k = 0; k < ties.extent(axis); ++k)
        if (const int set = ties.find(axis, k); !ties.is_fixed(set)) sets[set][axis].insert(k);
    const auto clones = [&] {
      Tensors copies;
      for (const Tensor& t : in) copies.push_back(t.clone());
      return copies;
    };
    int removed = 0;
    for (const auto& [set, places] : sets) {
      if (++removed > 4 && set % 3) continue;  // not all of a long list
      Tensors small = clones(), whole = clones();
      bool reaches_outputs = false;
      for (const auto& [axis, gone] : places) {
        if (axis.value >= static_cast<int>(in.size())) {
          reaches_outputs = true;
          continue;
        }
        if (is_loss(c.op)) FAIL() << "its channels are classes";
        small[axis.value] = without(small[axis.value], axis.axis, gone);
      }
      // Channels that no output carries are summed over: zeros in all their places change nothing.
      if (!reaches_outputs)
        for (const auto& [axis, gone] : places) silence(whole[axis.value], axis.axis, gone);
      Tensors want = espalier::apply(op, whole);
      for (const auto& [axis, gone] : places)
        if (const int o = axis.value - static_cast<int>(in.size()); o >= 0)
          want[o] = without(want[o], axis.axis, gone);
      const Tensors got = espalier::apply(op, small);
      for (size_t o = 0; o < got.size(); ++o) {
        ASSERT_EQ(got[o].meta(), want[o].meta()) << "output " << o;
        EXPECT_TRUE(same(got[o], want[o])) << "output " << o;
      }
    }
    if (!is_loss(c.op)) {
      EXPECT_GT(removed, 0);
    }
  }
}

// --- bad input

/// Runs the op on inputs of these types and shapes; true if it refused with an Error, false if it ran.
bool refuses(const std::shared_ptr<Op>& op, const Metas& metas) {
  try {
    const Metas out = op->infer(metas);
    Tensors in;
    for (const Meta& m : metas) in.push_back(Tensor::zeros(m.shape, Device::kCpu, m.dtype));
    const Tensors got = espalier::apply(op, in);
    EXPECT_EQ(got.size(), out.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].meta(), out[i]);
    return false;
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    return true;
  }
}

TEST(EveryOp, RefusesWrongInputsInsteadOfCrashing) {
  constexpr DType kTypes[] = {DType::kF32, DType::kS8, DType::kU8, DType::kS32};
  for (const OpCase& c : op_cases()) {
    SCOPED_TRACE(c.describe(5));
    const std::shared_ptr<Op> op = c.make(5);
    const TrainingMode mode(c.training);
    Metas good;
    for (const Input& in : c.inputs(5)) good.push_back({in.shape, in.dtype});
    EXPECT_FALSE(refuses(op, good));
    EXPECT_TRUE(refuses(op, {}));
    if (c.op != "concat") {  // which takes any number
      Metas more = good;
      more.push_back(good[0]);
      EXPECT_TRUE(refuses(op, more)) << "one input more";
    }
    int refused = 0;
    for (size_t i = 0; i < good.size(); ++i) {
      Metas wrong = good;
      wrong.erase(wrong.begin() + static_cast<std::ptrdiff_t>(i));
      if (c.op != "concat") {
        EXPECT_TRUE(refuses(op, wrong)) << "without input " << i;
      }
      for (const DType type : kTypes) {
        wrong = good;
        wrong[i].dtype = type;
        refused += refuses(op, wrong);
      }
      for (int axes = 0; axes <= 4; ++axes) {
        wrong = good;
        std::vector<int> extents = good[i].shape.vector();
        extents.resize(static_cast<size_t>(axes), 5);
        wrong[i].shape = Shape(extents);
        refused += refuses(op, wrong);
      }
      for (int axis = 0; axis < good[i].shape.axes(); ++axis)
        for (const int extent : {0, 1, good[i].shape[axis] - 1, good[i].shape[axis] + 1}) {
          wrong = good;
          wrong[i].shape[axis] = extent;
          refused += refuses(op, wrong);
        }
    }
    if (good.size() > 1 && c.op != "concat") {
      EXPECT_GT(refused, 5);
    }
  }
}

TEST(EveryOp, RefusesNonsenseInsteadOfCrashing) {
  Random random(9, Purpose::kTest);
  constexpr DType kTypes[] = {DType::kF32, DType::kF32, DType::kF32, DType::kS8, DType::kU8, DType::kS32};
  constexpr int kExtents[] = {0, 1, 2, 3, 5};
  for (const std::string& name : op_names()) {
    SCOPED_TRACE(name);
    for (int round = 0; round < 300; ++round) {
      Metas metas(static_cast<size_t>(random.below(8)));
      for (Meta& m : metas) {
        std::vector<int> extents(static_cast<size_t>(random.below(5)));
        for (int& e : extents) e = kExtents[random.below(5)];
        m = {Shape(extents), kTypes[random.below(6)]};
      }
      refuses(make_op(name), metas);
    }
  }
}

}  // namespace
}  // namespace espalier::test
