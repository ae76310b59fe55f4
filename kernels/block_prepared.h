#pragma once
// Dense convolution, depthwise convolution and 1x1 convolution in a row, as in MobileNets, without the memory
// traffic of what is between them: the first two make far more values than go in or come out.

#include "kernels/conv2d_prepared.h"
#include "kernels/depthwise_prepared.h"

namespace espalier::kernels {

/// y = last(depthwise(first(x))) (+ residual, which belongs to last).
struct BlockProblem {
  ConvShape first, depthwise, last;
  Activation first_act, depthwise_act, last_act;
  const PackedFilters* first_w;
  const PaddedFilters* depthwise_w;
  const PackedFilters* last_w;
  const float *x, *residual;
  float *expanded, *filtered;  ///< as large as the outputs of first and depthwise; contents are lost
  float* y;
};

/// True if the shapes follow each other and last is a 1x1 convolution without stride or padding.
bool is_block(const ConvShape& first, const ConvShape& depthwise, const ConvShape& last);

/// A block is done in so many steps (see Team::step).
constexpr int kBlockSteps = 2;

/// One share of one step. Gives the same bits as the three kernels one after another.
void block_prepared(const BlockProblem& problem, const Team& team);

}  // namespace espalier::kernels
