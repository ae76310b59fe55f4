#pragma once
// `espalier data check`: everything that is wrong with a data set, before training finds out.

#include "base/json.h"
#include "datasets/dataset.h"

namespace espalier {

/// Looks at every split that exists and lists everything, not just the first: bad lines, missing, unreadable
/// and duplicate files, labels out of range, classes without pictures, boxes that are none or reach over the
/// edge (a warning), annotations and masks that are not of their picture, the same picture (by its bytes) in
/// two splits or with two labels. Result:
///
///   {"problems": errors, "warnings": n, "format", "task", "root", "labels": [..],
///    "splits": {"train": {"list", "samples", "usable", "unreadable", "ignored": [..], "per_class": [..],
///                         "width": {min, median, max}, "height": {..}, "formats": {"JPEG": n, ..},
///                         detection: "boxes", "without_boxes": pictures, "boxes_a_picture": {min, ..},
///                         segmentation: "pixels": [of each class]}, ..},
///    "findings": [{"severity": "error" | "warning", "kind", "split", "where", "message"}, ..]}
///
/// per_class counts pictures; for detection boxes, for segmentation pictures that show the class. Throws
/// Error only when there is nothing to look at: no root, or an unknown format.
Json check_dataset(const DataSpec& spec);

/// The report as lines for a person.
std::string describe(const Json& report);

}  // namespace espalier
