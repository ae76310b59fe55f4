// Format "image_list": list files with lines "relative/path label" and labels.txt with one class name a line.

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "datasets/list_file.h"

namespace espalier {

Listing read_image_list(const DataSpec& spec, Split split) {
  Listing listing;
  listing.labels = read_labels(spec);
  const int classes = static_cast<int>(listing.labels.size());
  for (const ListLine& line :
       read_list(spec, split, Second::kLabel, "has no label", "relative/path label", listing)) {
    const std::string &where = line.where, &path = line.path, &word = line.second;
    const auto problem = [&](const char* kind, const std::string& what) {
      listing.problems.push_back({where, str(where, ": ", what), kind, ""});
    };
    int label = 0;
    const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), label);
    if (code == std::errc::invalid_argument || end != word.data() + word.size()) {
      const auto named = std::find(listing.labels.begin(), listing.labels.end(), word);
      problem("no_label",
              named != listing.labels.end()
                  ? str("label '", word, "' is a name; write its number, ", named - listing.labels.begin())
                  : str("'", word, "' is no label; a whole number in 0 .. ", classes - 1,
                        " is expected after the last space"));
    } else if (code != std::errc() || label < 0 || label >= classes) {
      problem("label_range", str("label ", word, " is out of range: ", labels_name(spec), " names ", classes,
                                 " classes, so 0 .. ", classes - 1, "; correct the label or add its class"));
    } else {
      listing.samples.push_back({path, label});
      listing.where.push_back(where);
    }
  }
  return listing;
}

}  // namespace espalier
