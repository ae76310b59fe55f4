#include "kernels/gather_channels.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/device_test.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using GatherChannelsTest = DeviceTest;

TEST_P(GatherChannelsTest, TakesTheChannelsInTheirOrder) {
  for (const int rows : {1, 37, 1000})
    for (const std::vector<int32_t>& index :
         {std::vector<int32_t>{0}, {36}, {0, 1, 2, 3}, {5, 36, 7, 7, 0}, std::vector<int32_t>(33, 2)}) {
      SCOPED_TRACE(str(rows, " rows, ", index.size(), " channels"));
      constexpr int kWide = 37;
      const int narrow = static_cast<int>(index.size());
      const Tensor x = random_tensor({rows, kWide}, GetParam(), 1), y({rows, narrow}, GetParam());
      kernels::gather_channels(GetParam(), rows, kWide, narrow, x.f32(),
                               Tensor::from(index, {narrow}, GetParam()).s32(), y.f32());
      const std::vector<float> from = x.to_vector(), got = y.to_vector();
      for (int row = 0; row < rows; ++row)
        for (int c = 0; c < narrow; ++c)
          ASSERT_EQ(got[static_cast<size_t>(row * narrow + c)],
                    from[static_cast<size_t>(row * kWide + index[static_cast<size_t>(c)])])
              << row << ", " << c;
    }
}

ESPALIER_TEST_ON_EVERY_DEVICE(GatherChannelsTest);

}  // namespace
}  // namespace espalier::test
