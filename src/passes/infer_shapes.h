#pragma once

#include "graph/graph.h"

namespace espalier {

/// For passes that put parameters of other shapes in place: gives all activations the shapes that follow from
/// them and from the inputs', and verifies. Throws Error where they do not fit.
void infer_shapes(Graph& graph);

}  // namespace espalier
