// Format "segmentation_list": list files with lines "image mask" and labels.txt with one class name a line. A
// mask is a PNG whose palette index or grey value is the class of the pixel; 255 is ignored.

#include <algorithm>

#include "base/error.h"
#include "datasets/list_file.h"
#include "datasets/mask.h"
#include "io/index_png.h"

namespace espalier {

Listing read_segmentation_list(const DataSpec& spec, Split split) {
  Listing listing;
  listing.labels = read_labels(spec);
  ESPALIER_CHECK(listing.labels.size() <= Mask::kIgnored, (spec.root / labels_name(spec)).string(),
                 ": names ", listing.labels.size(), " classes; masks hold at most ", int{Mask::kIgnored});
  for (const auto& [where, path, mask] :
       read_list(spec, split, Second::kPath, "has no mask", "image mask.png", listing)) {
    listing.samples.push_back({.path = path, .mask = mask});
    listing.where.push_back(where);
  }
  return listing;
}

Mask read_mask(const std::filesystem::path& path, int classes) {
  const IndexImage image = read_index_png(path);
  Mask mask{image.width, image.height, std::vector<uint8_t>(image.values.size())};
  for (size_t i = 0; i < image.values.size(); ++i) {
    const int value = image.values[i];
    ESPALIER_CHECK(value < classes || value == Mask::kIgnored, path.string(), ": pixel (", i % image.width,
                   ", ", i / image.width, ") is ", value, ", but there are ", classes, " classes; 0 .. ",
                   classes - 1, " and ", int{Mask::kIgnored},
                   " for what is ignored are allowed: correct the mask or add the class");
    mask.classes[i] = static_cast<uint8_t>(value);
  }
  return mask;
}

}  // namespace espalier
