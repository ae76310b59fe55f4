#include <gtest/gtest.h>
#include <omp.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <ostream>

#include "base/random.h"
#include "kernels/block_prepared.h"
#include "kernels/winograd.h"
#include "support/expect_close.h"

// The kernels of a Session against their formulas in double, on shapes with tails in rows and channels,
// borders on every side, and teams that do not divide the work.

namespace espalier {
namespace {

using kernels::ConvShape;

struct Case {
  ConvShape shape;
  Activation act = {};
  bool bias = true, residual = false;

  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    const ConvShape& s = c.shape;
    return out << s.N << 'x' << s.H << 'x' << s.W << " c" << s.C << " k" << s.K << " f" << s.R << 'x' << s.S
               << " s" << s.stride << " p" << s.pad.top << s.pad.left << s.pad.bottom << s.pad.right;
  }
};

struct Data {
  std::vector<float> x, w, bias, residual;

  Data(const Case& c, bool depthwise) {
    const ConvShape& s = c.shape;
    x = random(int64_t{s.N} * s.H * s.W * s.C, 1);
    w = random(int64_t{depthwise ? 1 : s.K} * s.R * s.S * s.C, 2);
    if (c.bias) bias = random(s.K, 3);
    if (c.residual) residual = random(int64_t{s.N} * s.P() * s.Q() * s.K, 4);
  }
  static std::vector<float> random(int64_t count, uint64_t seed) {
    Random generator(seed, Purpose::kTest);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& v : values) v = static_cast<float>(generator.normal());
    return values;
  }
};

struct Wanted {
  std::vector<double> y, limit;
};

Wanted formula(const Case& c, const Data& d, bool depthwise) {
  const ConvShape& s = c.shape;
  Wanted wanted;
  for (int n = 0; n < s.N; ++n)
    for (int p = 0; p < s.P(); ++p)
      for (int q = 0; q < s.Q(); ++q)
        for (int k = 0; k < s.K; ++k) {
          double sum = c.bias ? d.bias[k] : 0, absolute = std::abs(sum);
          for (int r = 0; r < s.R; ++r)
            for (int t = 0; t < s.S; ++t) {
              const int h = p * s.stride - s.pad.top + r, v = q * s.stride - s.pad.left + t;
              if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
              for (int i = depthwise ? k : 0; i < (depthwise ? k + 1 : s.C); ++i) {
                const double term = double{d.x[((int64_t{n} * s.H + h) * s.W + v) * s.C + i]} *
                                    d.w[depthwise ? (int64_t{r} * s.S + t) * s.C + i
                                                  : ((int64_t{k} * s.R + r) * s.S + t) * s.C + i];
                sum += term, absolute += std::abs(term);
              }
            }
          if (c.residual)
            sum += d.residual[wanted.y.size()], absolute += std::abs(d.residual[wanted.y.size()]);
          sum = sum > 0 ? sum : c.act.slope * sum;
          wanted.y.push_back(std::min(sum, double{c.act.cap}));
          const double terms = s.R * s.S * (depthwise ? 1 : s.C) + 2;
          wanted.limit.push_back(4 * std::sqrt(terms) * std::numeric_limits<float>::epsilon() * absolute);
        }
  return wanted;
}

/// All shares of every step, the last share first: kernels must not depend on the order.
template <class Kernel>
std::vector<float> run(size_t size, int threads, const Kernel& kernel, int steps = 1) {
  // Guards on both sides show a write past the end.
  constexpr size_t kGuard = 32;
  constexpr float kUntouched = -123.0f;
  std::vector<float> y(size + 2 * kGuard, kUntouched);
  for (int step = 0; step < steps; ++step)
    for (int share = threads - 1; share >= 0; --share)
      kernel(y.data() + kGuard, kernels::Team{share, threads, step});
  for (size_t i = 0; i < kGuard; ++i) {
    EXPECT_EQ(y[i], kUntouched) << "written before the start";
    EXPECT_EQ(y[size + kGuard + i], kUntouched) << "written past the end";
  }
  return {y.begin() + kGuard, y.end() - kGuard};
}

void check(const std::vector<float>& got, const Wanted& wanted) {
  ASSERT_EQ(got.size(), wanted.y.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_TRUE(std::abs(got[i] - wanted.y[i]) <= wanted.limit[i] + 1e-30)
        << "element " << i << " is " << got[i] << ", expected " << wanted.y[i];
}

const float* pointer(const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }

const Case kDense[] = {
    {{1, 1, 1, 1, 1, 1, 1, 1, {}}, Activation::none(), false},
    {{1, 1, 1, 37, 10, 1, 1, 1, {}}},                                    // a linear layer
    {{3, 1, 1, 40, 100, 1, 1, 1, {}}, Activation::relu()},               // with a batch
    {{1, 5, 6, 24, 16, 1, 1, 1, {}}, Activation::relu6()},               // one block
    {{2, 7, 7, 33, 40, 1, 1, 1, {}}, Activation::leaky(), true, true},   // half a block
    {{1, 7, 7, 16, 49, 1, 1, 1, {}}, Activation::relu(), true, true},    // three blocks and one channel
    {{1, 9, 11, 8, 130, 1, 1, 1, {}}, Activation::none(), false, true},  // many blocks
    {{1, 31, 33, 5, 3, 1, 1, 1, {}}},                                    // many rows, few channels
    {{2, 9, 7, 6, 18, 1, 1, 2, {}}, Activation::relu()},                 // strided rows
    {{1, 9, 8, 5, 20, 1, 1, 1, {1, 2, 0, 1}}},                           // padded 1x1: bias alone outside
    {{1, 17, 19, 3, 32, 3, 3, 2, {1, 1, 1, 1}}, Activation::relu6()},    // a stem
    {{2, 16, 16, 3, 8, 3, 3, 2, {0, 0, 1, 1}}, Activation::relu6()},     // TensorFlow's
    {{2, 7, 9, 20, 36, 3, 3, 1, {1, 1, 1, 1}}, Activation::leaky(), true, true},  // same padding
    {{1, 6, 5, 4, 17, 5, 3, 1, {2, 1, 2, 1}}},                                    // an uneven filter
    {{1, 4, 4, 7, 9, 5, 5, 1, {4, 4, 4, 4}}},                        // windows wider than the image
    {{1, 2, 2, 3, 5, 3, 3, 1, {3, 3, 3, 3}}},                        // windows that see nothing
    {{1, 12, 10, 3, 6, 3, 3, 3, {0, 0, 0, 0}}, Activation::relu()},  // stride skips nothing
    {{1, 8, 8, 2, 4, 2, 2, 4, {0, 0, 0, 0}}},                        // stride skips inputs
};

TEST(Conv2dPrepared, MatchesTheFormula) {
  for (const Case& c : kDense) {
    SCOPED_TRACE(::testing::PrintToString(c));
    const Data d(c, false);
    const ConvShape& s = c.shape;
    const kernels::PackedFilters packed(d.w.data(), pointer(d.bias), s.K, s.R, s.S, s.C);
    const Wanted wanted = formula(c, d, false);
    std::vector<float> alone;
    for (int threads : {1, 2, 3, 4}) {
      const std::vector<float> y = run(wanted.y.size(), threads, [&](float* out, const kernels::Team& team) {
        kernels::conv2d_prepared(s, c.act, packed, d.x.data(), pointer(d.residual), out, team);
      });
      check(y, wanted);
      if (threads == 1) alone = y;
      EXPECT_EQ(y, alone) << "another result with " << threads << " threads";
    }
  }
}

TEST(Conv2dPrepared, MayOverwriteItsResidual) {
  const Case c{{1, 7, 7, 16, 40, 1, 1, 1, {}}, Activation::relu(), true, true};
  const Data d(c, false);
  const kernels::PackedFilters packed(d.w.data(), pointer(d.bias), c.shape.K, 1, 1, c.shape.C);
  const std::vector<float> y = run(
      d.residual.size(), 3,
      [&](float* out, const kernels::Team& team) {
        if (team.step == 0 && team.thread == 0) std::copy(d.residual.begin(), d.residual.end(), out);
        if (team.step == 1) kernels::conv2d_prepared(c.shape, c.act, packed, d.x.data(), out, out, team);
      },
      2);
  check(y, formula(c, d, false));
}

const Case kWinograd[] = {
    {{1, 4, 4, 16, 16, 3, 3, 1, {1, 1, 1, 1}}, Activation::none(), false},          // one tile
    {{1, 1, 1, 3, 5, 3, 3, 1, {1, 1, 1, 1}}},                                       // one output
    {{2, 9, 7, 37, 20, 3, 3, 1, {1, 1, 1, 1}}, Activation::leaky(), true, true},    // tails everywhere
    {{1, 13, 130, 5, 33, 3, 3, 1, {1, 1, 1, 1}}, Activation::relu()},               // several runs a line
    {{3, 10, 11, 64, 48, 3, 3, 1, {0, 0, 0, 0}}, Activation::relu6()},              // without padding
    {{1, 8, 9, 18, 7, 3, 3, 1, {2, 0, 1, 2}}, Activation::relu(), true, true},      // uneven padding
    {{1, 2, 2, 3, 5, 3, 3, 1, {7, 7, 7, 7}}},                                       // tiles that see nothing
    {{1, 60, 64, 32, 32, 3, 3, 1, {1, 1, 1, 1}}, Activation::relu(), true, false},  // several rounds
    {{1, 6, 6, 260, 270, 3, 3, 1, {1, 1, 1, 1}}, Activation::none(), true, true},   // runs of one tile
};

TEST(WinogradPrepared, MatchesTheFormula) {
  for (const Case& c : kWinograd) {
    SCOPED_TRACE(::testing::PrintToString(c));
    const Data d(c, false);
    const ConvShape& s = c.shape;
    const kernels::WinogradFilters packed(d.w.data(), pointer(d.bias), s.K, s.C);
    Wanted wanted = formula(c, d, false);
    for (double& limit : wanted.limit) limit = limit * test::kWinogradError + test::kWinogradError * 1e-6;
    std::vector<float> alone;
    for (int threads : {1, 2, 3, 4}) {
      const std::vector<float> y = run(wanted.y.size(), threads, [&](float* out, const kernels::Team& team) {
        kernels::winograd_prepared(s, c.act, packed, d.x.data(), pointer(d.residual), out, team);
      });
      check(y, wanted);
      if (threads == 1) alone = y;
      EXPECT_EQ(y, alone) << "another result with " << threads << " threads";
    }
  }
}

TEST(WinogradPrepared, IsTakenForWideFiltersWithoutStrideAlone) {
  const ConvShape wide{1, 64, 64, 64, 64, 3, 3, 1, {1, 1, 1, 1}};
  EXPECT_TRUE(kernels::winograd_suits(wide));
  ConvShape s = wide;
  s.stride = 2;
  EXPECT_FALSE(kernels::winograd_suits(s));
  s = wide, s.C = 3;
  EXPECT_FALSE(kernels::winograd_suits(s)) << "the transforms cost more than the products";
  s = wide, s.C = s.K = 1024;
  EXPECT_FALSE(kernels::winograd_suits(s)) << "the filters would take 150 MB";
  s = wide, s.S = 1;
  EXPECT_FALSE(kernels::winograd_suits(s));
}

const Case kDepthwise[] = {
    {{1, 1, 1, 1, 1, 3, 3, 1, {1, 1, 1, 1}}, Activation::none(), false},
    {{1, 5, 6, 37, 37, 3, 3, 1, {1, 1, 1, 1}}, Activation::relu6()},
    {{2, 14, 14, 16, 16, 3, 3, 1, {1, 1, 1, 1}}, Activation::relu6(), true, true},
    {{2, 15, 13, 24, 24, 3, 3, 2, {1, 1, 1, 1}}, Activation::relu()},
    {{1, 16, 16, 40, 40, 3, 3, 2, {0, 0, 1, 1}}, Activation::relu6()},
    {{1, 31, 29, 8, 8, 3, 3, 1, {1, 1, 1, 1}}, Activation::leaky()},
    {{1, 9, 11, 19, 19, 5, 5, 1, {2, 2, 2, 2}}},
    {{1, 12, 10, 33, 33, 5, 5, 2, {2, 2, 2, 2}}, Activation::leaky(), true, true},
    {{1, 10, 9, 18, 18, 3, 3, 3, {1, 1, 1, 1}}},
    {{1, 8, 9, 5, 5, 2, 4, 1, {0, 1, 1, 2}}},
    {{1, 7, 7, 130, 130, 7, 7, 1, {3, 3, 3, 3}}},
    {{1, 2, 2, 3, 3, 3, 3, 1, {3, 3, 3, 3}}},
    {{1, 2, 3, 20, 20, 1, 1, 1, {}}, Activation::relu()},
};

TEST(DepthwisePrepared, MatchesTheFormula) {
  for (const Case& c : kDepthwise) {
    SCOPED_TRACE(::testing::PrintToString(c));
    const Data d(c, true);
    const ConvShape& s = c.shape;
    const kernels::PaddedFilters padded(d.w.data(), pointer(d.bias), s.R, s.S, s.C);
    const Wanted wanted = formula(c, d, true);
    std::vector<float> alone;
    for (int threads : {1, 2, 3, 4}) {
      const std::vector<float> y = run(wanted.y.size(), threads, [&](float* out, const kernels::Team& team) {
        kernels::depthwise_prepared(s, c.act, padded, d.x.data(), pointer(d.residual), out, team);
      });
      check(y, wanted);
      if (threads == 1) alone = y;
      EXPECT_EQ(y, alone) << "another result with " << threads << " threads";
    }
  }
}

struct BlockCase {
  ConvShape first, depthwise;
  int channels;  ///< out
  bool residual = false;
};

const BlockCase kBlocks[] = {
    {{1, 14, 14, 8, 48, 1, 1, 1, {}}, {1, 14, 14, 48, 48, 3, 3, 1, {1, 1, 1, 1}}, 8, true},
    {{2, 13, 11, 5, 37, 1, 1, 1, {}}, {2, 13, 11, 37, 37, 3, 3, 2, {1, 1, 1, 1}}, 19},
    {{3, 40, 9, 6, 20, 1, 1, 1, {}}, {3, 40, 9, 20, 20, 5, 5, 1, {2, 2, 2, 2}}, 6, true},
    {{1, 33, 37, 3, 16, 3, 3, 2, {0, 0, 1, 1}}, {1, 16, 18, 16, 16, 3, 3, 1, {1, 1, 1, 1}}, 10},  // a stem
    {{1, 5, 4, 7, 100, 1, 1, 1, {}},
     {1, 5, 4, 100, 100, 3, 3, 1, {1, 1, 1, 1}},
     33},  // fewer lines than needed
    {{2, 64, 200, 4, 64, 1, 1, 1, {}},
     {2, 64, 200, 64, 64, 3, 3, 1, {1, 1, 1, 1}},
     4,
     true},  // a ring goes round
    {{1, 60, 12, 4, 18, 1, 1, 1, {}},
     {1, 60, 12, 18, 18, 3, 3, 3, {0, 1, 0, 1}},
     4},  // a stride that skips nothing
    {{1, 60, 12, 4, 18, 1, 1, 1, {}},
     {1, 60, 12, 18, 18, 2, 3, 4, {1, 1, 0, 1}},
     4},  // and one that skips lines
};

TEST(BlockPrepared, GivesTheBitsOfItsThreeKernels) {
  for (const BlockCase& c : kBlocks) {
    const ConvShape &f = c.first, &d = c.depthwise, l{d.N, d.P(), d.Q(), d.C, c.channels, 1, 1, 1, {}};
    SCOPED_TRACE(::testing::PrintToString(Case{f}) + ", " + ::testing::PrintToString(Case{d}));
    ASSERT_TRUE(kernels::is_block(f, d, l));
    const Data first({f}, false), depthwise({d}, true), last({l, {}, true, c.residual}, false);
    const kernels::PackedFilters first_w(first.w.data(), first.bias.data(), f.K, f.R, f.S, f.C),
        last_w(last.w.data(), last.bias.data(), l.K, 1, 1, l.C);
    const kernels::PaddedFilters depthwise_w(depthwise.w.data(), depthwise.bias.data(), d.R, d.S, d.C);
    std::vector<float> expanded(depthwise.x.size()), filtered(last.x.size());
    const size_t size = static_cast<size_t>(l.N) * l.H * l.W * l.K;
    kernels::BlockProblem problem{f,
                                  d,
                                  l,
                                  Activation::relu6(),
                                  Activation::leaky(),
                                  Activation::relu(),
                                  &first_w,
                                  &depthwise_w,
                                  &last_w,
                                  first.x.data(),
                                  pointer(last.residual),
                                  expanded.data(),
                                  filtered.data(),
                                  nullptr};
    const std::vector<float> apart = run(
        size, 2,
        [&](float* out, const kernels::Team& team) {
          if (team.step == 0)
            kernels::conv2d_prepared(f, problem.first_act, first_w, problem.x, nullptr, expanded.data(),
                                     team);
          else if (team.step == 1)
            kernels::depthwise_prepared(d, problem.depthwise_act, depthwise_w, expanded.data(), nullptr,
                                        filtered.data(), team);
          else
            kernels::conv2d_prepared(l, problem.last_act, last_w, filtered.data(), problem.residual, out,
                                     team);
        },
        3);
    for (int threads : {1, 2, 3, 4}) {
      std::fill(expanded.begin(), expanded.end(), std::numeric_limits<float>::quiet_NaN());
      std::fill(filtered.begin(), filtered.end(), std::numeric_limits<float>::quiet_NaN());
      const auto block = [&](float* out, const kernels::Team& team) {
        kernels::BlockProblem own = problem;
        own.y = out;
        kernels::block_prepared(own, team);
      };
      EXPECT_EQ(run(size, threads, block, kernels::kBlockSteps), apart) << threads << " threads";
    }
  }
}

TEST(Team, SharesCoverEveryItemOnceInOrder) {
  for (int count : {0, 1, 5, 16, 37})
    for (int threads : {1, 2, 3, 7}) {
      int next = 0;
      for (int t = 0; t < threads; ++t) {
        const kernels::Share share(count, t, threads);
        EXPECT_EQ(share.first, next);
        EXPECT_LE(share.count(), count / threads + 1);
        next = share.last;
      }
      EXPECT_EQ(next, count);
    }
}

TEST(Team, ARelayRunsEveryShareOnceAndStepsInOrder) {
  constexpr int kThreads = 4, kSteps = 300;
  kernels::Relay relay;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::vector<int>> runs(kSteps, std::vector<int>(kThreads, 0));
    std::vector<int> ended;
    std::atomic<int> wrong{0};
    relay.reset(kThreads);
#pragma omp parallel num_threads(kThreads)
    relay.run(
        omp_get_thread_num(), kSteps,
        [&](int step, int share) {
          ++runs[step][share];
          // Everything of the step before is visible.
          for (int s = 0; step > 0 && s < kThreads; ++s) wrong += runs[step - 1][s] != 1;
          wrong += static_cast<int>(ended.size()) != step;
        },
        [&](int step) { ended.push_back(step); });
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(ended.size(), static_cast<size_t>(kSteps));
    for (const auto& shares : runs)
      for (const int count : shares) EXPECT_EQ(count, 1);
  }
}

TEST(Team, ARelayNeedsNoSecondThread) {
  kernels::Relay relay;
  relay.reset(3);
  int runs = 0;
  relay.run(
      1, 5, [&](int, int) { ++runs; }, [](int) {});  // the other two never come
  EXPECT_EQ(runs, 15);
}

}  // namespace
}  // namespace espalier
