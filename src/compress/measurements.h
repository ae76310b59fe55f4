#pragma once
// Evaluations that are never repeated: each is kept in a file as soon as it is done.

#include <filesystem>
#include <map>
#include <string>

#include "graph/graph.h"
#include "tasks/task.h"

namespace espalier {

class Measurements {
 public:
  struct Point {
    double metric = 0, loss = 0;
    int64_t samples = 0;
  };

  /// Keeps references. With an empty `file` nothing outlives the process; otherwise it is written atomically
  /// after every evaluation, and one that is there with the same data and metric is continued. Throws Error
  /// for a file of other data or another metric, or one that is damaged.
  Measurements(const Task& task, BatchSource& source, std::filesystem::path file = {},
               Device device = Device::kCpu);

  /// The metric of a graph as it runs in a Session, from the file when this very graph, weights included, was
  /// measured before. `what` is for people who read the file. Throws as evaluate().
  Point of(const Graph& graph, const std::string& what);

  int evaluations() const { return evaluations_; }  ///< made by this process
  const std::string& metric_name() const { return metric_name_; }

 private:
  void load();
  void save() const;

  const Task& task_;
  BatchSource& source_;
  std::filesystem::path file_;
  Device device_;
  std::string metric_name_;
  struct Entry {
    std::string what;
    Point point;
  };
  std::map<std::string, Entry> entries_;  ///< by the graph's hash
  int evaluations_ = 0;
};

}  // namespace espalier
