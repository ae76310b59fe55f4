#pragma once
// The list of transforms that work on 8-bit pixels. A new one is a struct (a ColorTransform where only the
// pixels change) and a line in the table of its file: transforms.cpp for every task,
// detection_transforms.cpp, segmentation_transforms.cpp.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "datasets/transforms.h"

namespace espalier {

struct TransformEntry {
  std::string name;
  std::function<std::shared_ptr<Transform>()> make;  ///< with default arguments
};

/// All of them.
const std::vector<TransformEntry>& transform_table();

std::vector<TransformEntry> common_transforms();
std::vector<TransformEntry> detection_transforms();
std::vector<TransformEntry> segmentation_transforms();

template <class T>
TransformEntry transform_entry() {
  return {T().name(), [] { return std::shared_ptr<Transform>(std::make_shared<T>()); }};
}

constexpr int kLargestSide = 16384;

/// The argument "filter".
struct FilterArgument {
  std::string filter = "bilinear";
  void visit(ArgumentVisitor& visitor);
  Filter value() const;
};

/// The argument "filter" that may also be "random": one of nearest, bilinear, bicubic, box (the mean over an
/// area) and lanczos, drawn for each picture.
struct RandomFilterArgument {
  std::string filter = "bilinear";
  void visit(ArgumentVisitor& visitor);
  bool random() const { return filter == "random"; }
  Filter draw(Random& random) const;
};

/// The argument "fill", rounded to pixels.
struct FillArgument {
  std::vector<double> fill;
  void visit(ArgumentVisitor& visitor);
  Fill value() const;
};

/// A list of two, the first at most the second. Throws Error.
void check_range(const char* key, const std::vector<double>& range);

}  // namespace espalier
