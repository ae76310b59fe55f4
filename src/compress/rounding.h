#pragma once
// Rounding of filters that looks at what the layer is fed, instead of each weight alone.

#include <map>
#include <string>

#include "graph/graph.h"
#include "tasks/batch.h"

namespace espalier {

struct RoundingOptions {
  bool per_channel = true;      ///< as QuantizeOptions::per_channel
  bool bias_correction = true;  ///< the bias will make up for the mean error, so only its variance counts
  int64_t batches = -1;         ///< of the source; -1: all
  int64_t memory =
      256LL << 20;          ///< bytes for what is kept of the inputs; with less the source is read more often
  int rows_per_image = 32;  ///< places of a picture that are looked at
};

/// What rounding came to.
struct RoundedLayer {
  double error_before = 0, error_after = 0;  ///< mean squared error of the outputs, to the nearest and chosen
  int64_t moved = 0;                         ///< weights not rounded to the nearest
};

/// For every layer chooses, for each weight, between the two codes next to it, so that the mean squared error
/// of the layer's outputs on the source is least: the problem of Nagel et al., "Up or Down? Adaptive Rounding
/// for Post-Training Quantization", 2020, equation 13, solved by going through the weights again and again
/// and taking every change that lowers the error. Of the inputs only second moments are kept, for blocks of
/// at most 1024 filter elements. Returns QuantizeOptions::rounding. Deterministic; `report` by filters' name.
/// Where inputs are too large to be squared it warns and rounds to the nearest. Throws Error when the source
/// gives nothing, Interrupted after Ctrl-C.
std::map<std::string, Tensor> choose_rounding(const Graph& prepared, BatchSource& source,
                                              const RoundingOptions& options = {},
                                              std::map<std::string, RoundedLayer>* report = nullptr);

}  // namespace espalier
