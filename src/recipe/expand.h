#pragma once
// One stage that stands for several: a list of budgets, and pruning in rounds.

#include "recipe/document.h"

namespace espalier {

/// Writes out what stages stand for, before they are checked:
///
/// - A prune stage with a list as its budget, `prune: {name: cut, keep_macs: [0.6, 0.4]}`, becomes one stage
/// a budget,
///   cut_60 and cut_40 (percent; of latency_ms 2.5, cut_2_5), and so does every stage that reads one of them,
///   by `from`, `sensitivity` or because it comes next: `train: {name: pruned}` becomes pruned_60 and
///   pruned_40. `models` of other stages and bounds in `expect` that name the stage mean all of them.
/// - `prune: {name: cut, keep_macs: 0.4, rounds: 3, round_epochs: 2}` becomes cut_round1, cut_retrained1 (2
/// epochs),
///   cut_sensitivity2, cut_round2, ... and cut at last: each cut keeps the same share, together 0.4 of the
///   first network (`share_of`). The curves are measured anew before each cut as the first ones were.
///
/// Places follow, so that messages name the line that was written. Throws Error for budgets that are no list
/// of numbers, lists that meet, and rounds without a share.
void expand_stages(Document& document);

}  // namespace espalier
