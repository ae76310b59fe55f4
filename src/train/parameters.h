#pragma once
// The parameters of a graph as a checkpoint holds them: by name, on the host.

#include <filesystem>
#include <string>

#include "graph/graph.h"
#include "train/checkpoint.h"

namespace espalier {

/// Of what the parameters belong to, without their values: 16 hexadecimal digits.
std::string structure_hash(const Graph& graph);

/// All parameters, running statistics included. On the CPU they share the graph's memory unless `copied`.
NamedTensors parameters_on_host(const Graph& graph, bool copied);

/// Writes the values into the graph's parameters. Throws Error naming `file` and the parameter that is
/// missing or of another type or shape.
void take_parameters(const Graph& graph, const NamedTensors& tensors, const std::filesystem::path& file);

}  // namespace espalier
