#pragma once
// One or more calls of every op with attributes that differ from the defaults: what the tests over all ops
// run. A new op without a case here fails EveryOp.HasACase.

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "ops/op.h"

namespace espalier::test {

/// What an input holds.
enum class Values {
  kNormal,
  kSmall,     ///< 0.2 times normal
  kFar,       ///< -4, 4, 12 in turn: sums with small numbers stay away from the kinks at 0 and 8
  kApart,     ///< all at least 0.05 from each other and from 0
  kPositive,  ///< 0.5 to 2
  kTiny,      ///< 0.0005 to 0.002: multipliers that keep INT8 outputs inside their range
  kMoments,   ///< a row of means and a row of variances
  kLabels,    ///< 0 to 4
  kBoxes,     ///< rows of centre x, centre y, width, height in 0..1, class 0 or 1, score; the last is padding
  kBits,      ///< 0, 1 and, seldom, 2
  kCodes,     ///< of the whole range of an integer type
};

struct Input {
  Shape shape;
  Values values = Values::kNormal;
  bool constant = false;  ///< has no gradient: labels, running statistics
  DType dtype = DType::kF32;
};

struct OpCase {
  std::string op;
  bool training;
  std::function<Json(int C)> attributes;  ///< all of them
  std::function<std::vector<Input>(int C)> inputs;

  std::string describe(int C) const;
  std::shared_ptr<Op> make(int C) const;
  Tensors tensors(int C, Device device) const;
};

const std::vector<OpCase>& op_cases();

}  // namespace espalier::test
