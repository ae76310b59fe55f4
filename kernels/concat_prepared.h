#pragma once

#include <cstdint>
#include <vector>

#include "kernels/team.h"

namespace espalier::kernels {

/// One operand of a concat: rows of `bytes` each.
struct ConcatPart {
  const char* from;
  int64_t bytes;
};

/// to[row] = the parts' rows one behind the other, for any element type.
void concat_prepared(int rows, const std::vector<ConcatPart>& parts, char* to, const Team& team);

}  // namespace espalier::kernels
