#pragma once
// Which channels of a group matter least: one function a criterion, and their table.

#include <map>
#include <string>
#include <vector>

#include "graph/channel_groups.h"
#include "tasks/task.h"

namespace espalier {

/// One score per channel of the group; the least goes first.
using CriterionFunction = std::vector<double> (*)(const Graph& graph, const ChannelGroup& group);

/// One score per channel of every group, by the group's name.
using ChannelScores = std::map<std::string, std::vector<double>>;

/// The scores of all groups by at most `batches` of the source; leaves the graph as it was.
using PictureCriterion = ChannelScores (*)(const Graph& graph, const Task& task, BatchSource& source,
                                           int64_t batches);

/// One of the two functions, the other is null.
struct CriterionEntry {
  std::string name;
  std::string description;
  CriterionFunction score;
  PictureCriterion on_pictures = nullptr;  ///< its order of channels travels with the curves
};

/// l1 is the first and the default.
const std::vector<CriterionEntry>& criterion_table();
/// Throws Error naming the known ones.
const CriterionEntry& find_criterion(const std::string& name);

/// The channels of a group, the least important first; equal scores by index. Removing more keeps removing
/// the same ones: the first n of it are what goes at any count n. Throws Error when a score is not finite, or
/// the criterion needs pictures.
std::vector<int> removal_order(const Graph& graph, const ChannelGroup& group, const std::string& criterion);
/// The same by scores that are known.
std::vector<int> removal_order(const std::vector<double>& scores, const std::string& group,
                               const std::string& criterion);

/// round(channels * ratio), half to even, and at least one channel stays.
int removed_count(int channels, double ratio);

}  // namespace espalier
