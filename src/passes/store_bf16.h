#pragma once

#include "graph/graph.h"

namespace espalier {

/// For training on a GPU with precision bf16: activations and their gradients lie in memory as bf16, half of
/// what a step of a small network moves; parameters, statistics, sums and what the graph gives stay f32
/// (mixed precision, Micikevicius et al. 2018, without its scaled loss: bf16 has the exponents of f32). Ops
/// that take f32 only get a cast before them. Run it last. Returns how many items read or write bf16.
int store_bf16(Graph& graph);

}  // namespace espalier
