// The second stage of the GPU's sums, run in the emulator, against sums of doubles.

#include "kernels/sum_parts.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/emulated_machine.h"
#include "support/expect_close.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

constexpr Schedule kSchedules[] = {Schedule::kForwardLate, Schedule::kBackwardEarly};

/// The sums of columns from `split` on come behind those before it.
Tensor sums(const Tensor& in, int split, Schedule schedule) {
  const int parts = in.shape()[0], columns = in.shape()[1];
  const Tensor out = Tensor::full({columns}, 7);
  EmulatedMachine machine;
  machine.schedule = schedule;
  kernels::sum_parts(machine,
                     kernels::SumParts{columns, parts, in.f32(), out.f32(), out.f32() + split, split});
  return out;
}

TEST(SumParts, ManyAndFewOfAnyNumberOfColumns) {
  for (const int parts : {1, 7, 8, 31, 32, 33, 100, 256, 529})
    for (const int columns : {1, 31, 33, 100}) {
      SCOPED_TRACE(str(parts, " parts of ", columns));
      const Tensor in = random_tensor({parts, columns}, Device::kCpu, 1);
      const std::vector<float> values = in.to_vector();
      std::vector<float> want;
      for (int c = 0; c < columns; ++c) {
        double sum = 0;
        for (int part = 0; part < parts; ++part) sum += values[static_cast<size_t>(part * columns + c)];
        want.push_back(static_cast<float>(sum));
      }
      const Tensor first = sums(in, columns / 3, kSchedules[0]);
      EXPECT_TRUE(
          expect_close(first, Tensor::from(want, {columns}), {1e-5, 1.0}));  // another order of the sums
      EXPECT_EQ(sums(in, columns / 3, kSchedules[1]).to_vector(), first.to_vector());
    }
}

}  // namespace
}  // namespace espalier::test
