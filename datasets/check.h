#pragma once
// `espalier data check`: everything that is wrong with a data set, before training finds out.

#include "base/json.h"
#include "datasets/dataset.h"

namespace espalier {

/// Looks at every split that exists and lists everything, not just the first: bad lines, missing, unreadable
/// and duplicate files, labels out of range, classes without pictures, pictures of the same content in one or
/// two splits. Result:
///
///   {"problems": n, "format", "root", "labels": [...],
///    "splits": {"train": {"list", "samples", "unreadable", "per_class": [..], "sizes": {"width": {min,
///    median, max}, ..},
///               "formats": {..}}, ...},
///    "findings": [{"severity": "error" | "warning", "kind", "split", "where", "message"}, ...]}
///
/// `problems` counts the errors. Throws Error only when there is nothing to look at: no root, or an unknown
/// format.
Json check_dataset(const DataSpec& spec);

/// The report as lines for a person.
std::string describe(const Json& report);

}  // namespace espalier
