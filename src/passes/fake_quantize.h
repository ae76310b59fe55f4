#pragma once
// The prepared graph with INT8's rounding in it, to be trained, and the way back.

#include <map>
#include <string>

#include "passes/quantize.h"

namespace espalier {

/// A graph with parameters of its own in which every activation and filter that quantize() would turn into
/// codes goes through a fake_quantize() with a trainable scale: activations that share a scale in INT8 share
/// it here, filters have one for each output channel (or one, as options.per_channel says). Scales begin as
/// those of quantize(); filters and biases are trainable. Corrections of rounding (options.means,
/// options.rounding) are left out: training does better.
Graph add_fake_quantization(const Graph& prepared, const std::map<std::string, float>& ranges,
                            const QuantizeOptions& options);

/// What quantize() needs for the same codes: takes filters and biases of the trained graph into `prepared`,
/// the learned scales into `ranges` and options.filter_scales, and drops options.means and options.rounding.
/// All three must be those that add_fake_quantization() was given.
void take_fake_quantization(const Graph& trained, Graph& prepared, std::map<std::string, float>& ranges,
                            QuantizeOptions& options);

}  // namespace espalier
