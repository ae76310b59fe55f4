#pragma once
// The list of transforms that work on 8-bit pixels. A new one is a struct in transforms.cpp and a line in its
// table.

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

const std::vector<TransformEntry>& transform_table();

}  // namespace espalier
