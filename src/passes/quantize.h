#pragma once
// FP32 graph to INT8 graph, in the arithmetic that README.md, "INT8", fixes: zero point 0, s8 weights with a
// scale per output channel, u8 activations where nothing is negative, s32 accumulators and biases, one
// rounding per output. Concat, pooling and resizing keep the scale of their inputs, which several inputs
// share.

#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace espalier {

struct QuantizeOptions {
  bool per_channel = true;  ///< one weight scale per output channel; false: one per tensor, for comparison
  bool paddlex_compat = false;  ///< the reference's: s8 everywhere, also where nothing is negative
  /// Patterns ('*', '?') of items that stay FP32; "outputs" stands for the layers that make the outputs.
  std::vector<std::string> keep_fp32;
  /// By value name: the mean of every channel of an activation. A layer whose input is here gets a bias that
  /// makes up for what rounding its filters moves its mean output by (Nagel et al., "Data-Free Quantization
  /// Through Weight Equalization and Bias Correction", 2019, section 4.2); others are left alone.
  std::map<std::string, std::vector<double>> means;
  /// By name of a layer's filters: s8 like them, what is added to each code after rounding to the nearest;
  /// compress/rounding.h chooses it. Layers that are not here are rounded to the nearest.
  std::map<std::string, Tensor> rounding;
  /// By name of a layer's filters: the scale of each output channel, learned; others have that of
  /// filter_scales().
  std::map<std::string, std::vector<double>> filter_scales;
};

/// One filter scale per output channel, `max|w| / 127`, or the largest of them for all.
std::vector<double> filter_scales(const Tensor& w, bool depthwise, bool per_channel);
/// The output channel of an element of the filters: [K,R,S,C] and [K,C], depthwise [R,S,C].
int filter_channel(const Shape& w, bool depthwise, int64_t element);

/// Names of the layers and additions that quantize() would run in INT8, in order of the network. What moves
/// codes follows them and is not named.
std::vector<std::string> quantizable_items(const Graph& prepared, const QuantizeOptions& options = {});

/// `ranges` gives the largest magnitude that each activation's codes stand for, by value name of the graph
/// after prepare_for_quantization(); compress/calibrate.h measures them. Returns a new graph; items that have
/// no INT8 form run in FP32 between a dequantize and a quantize. Throws Error when a range is missing or not
/// positive, or when a pattern matches nothing.
Graph quantize(const Graph& prepared, const std::map<std::string, float>& ranges,
               const QuantizeOptions& options = {});

/// What quantize() decides.
struct QuantizationPlan {
  struct Codes {
    float scale = 0;  ///< 0: the value never exists as codes
    bool is_unsigned = false;
    int shares = -1;  ///< the first of the values with the same scale
  };
  std::vector<bool> int8;    ///< per item
  std::vector<Codes> codes;  ///< per value
};
/// Errors as quantize().
QuantizationPlan plan_quantization(const Graph& prepared, const std::map<std::string, float>& ranges,
                                   const QuantizeOptions& options = {});

/// A private copy with norms folded and epilogues fused: what is calibrated and then quantised.
Graph prepare_for_quantization(const Graph& graph);

/// True if the value can only hold numbers >= 0: what makes it says so (Op::never_negative()).
bool never_negative(const Graph& graph, int value);

}  // namespace espalier
