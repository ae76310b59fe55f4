#include "kernels/concat_prepared.h"

#include <cstring>

namespace espalier::kernels {

void concat_prepared(int rows, const std::vector<ConcatPart>& parts, char* to, const Team& team) {
  int64_t whole = 0;
  for (const ConcatPart& part : parts) whole += part.bytes;
  const Share share(rows, team.thread, team.threads);
  char* out = to + share.first * whole;
  for (int64_t row = share.first; row < share.last; ++row)
    for (const ConcatPart& part : parts) {
      std::memcpy(out, part.from + row * part.bytes, static_cast<size_t>(part.bytes));
      out += part.bytes;
    }
}

}  // namespace espalier::kernels
