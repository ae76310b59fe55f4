#pragma once
// How fast a model runs, measured so that variants can be compared: in turns, since machines are shared and
// noisy.

#include <cstdint>
#include <string>
#include <vector>

#include "compress/latency_table.h"
#include "graph/graph.h"

namespace espalier {

struct BenchmarkOptions {
  int batch = 32;        ///< for images a second; 0: latency alone, which is at batch 1
  double seconds = 1.0;  ///< of timing per graph and batch size, over all rounds; three runs at least
  int rounds = 5;        ///< turns in which the graphs take that time
  /// Bytes of activations at `batch`: as many graphs as fit take turns there, the next ones after them.
  int64_t memory = int64_t{4} << 30;
};

struct Timing {
  double median_ms = 0, p95_ms = 0, least_ms = 0;  ///< at batch 1
  int runs = 0;                                    ///< at batch 1
  double images_per_second = 0;                    ///< at options.batch, from the median
  int64_t arena_bytes = 0, packed_bytes = 0;       ///< memory of activations at batch 1, of packed weights
};

/// Times every graph, one after another in each round. Inputs are random images of
/// the traced size, which lie on the graph's device already. Throws Interrupted after Ctrl-C.
std::vector<Timing> benchmark(const std::vector<const Graph*>& graphs, const BenchmarkOptions& options);

/// Milliseconds of every layer, the median over some runs at batch `batch`.
struct LayerTiming {
  std::string name, op;
  double ms = 0;
};
std::vector<LayerTiming> benchmark_layers(const Graph& graph, int batch, double seconds);

/// The table of a network's layers on this machine: what `file` holds of it, the rest measured now. `machine`
/// is what times depend on besides the program's version.
LatencyTable latency_table(const Graph& graph, const std::filesystem::path& file, Json machine);

}  // namespace espalier
