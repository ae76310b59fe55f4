// Format "voc": list files with lines "image annotation.xml" and labels.txt with one class name a line. The
// annotations are those of PASCAL VOC: size, and name, difficult and bndbox of every object.
//
// VOC counts pixels from 1 and includes the last one. The four numbers are taken as they stand, as edges
// between pixels counted from 0, so a box may lie up to one pixel beside what it means; its width is xmax -
// xmin.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <pugixml.hpp>

#include "base/error.h"
#include "base/nearest.h"
#include "datasets/list_file.h"
#include "io/file.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

/// A number as XML gives it; NaN for text that is none, which no box may have.
double number_of(const pugi::xml_node& node) {
  const std::string text = node.text().get();
  const size_t first = text.find_first_not_of(" \t\r\n+");
  double value = 0;
  if (first == std::string::npos) return std::numeric_limits<double>::quiet_NaN();
  const char *begin = text.data() + first, *end = text.data() + text.find_last_not_of(" \t\r\n") + 1;
  const auto [stop, code] = std::from_chars(begin, end, value);
  return code == std::errc() && stop == end ? value : std::numeric_limits<double>::quiet_NaN();
}

int64_t line_of(const std::string& text, int64_t offset) {
  return 1 + std::count(text.begin(), text.begin() + std::min<int64_t>(offset, std::ssize(text)), '\n');
}

/// Whether <filename> means the picture: its folder may be that of another machine, its ending may be absent.
bool names_file(const std::string& named, const fs::path& picture) {
  const std::string file = named.substr(named.find_last_of("/\\") + 1);
  return file == picture.stem() || fs::path(file).stem() == picture.stem();
}

/// Reads one annotation file into one sample.
class AnnotationReader {
 public:
  AnnotationReader(const DataSpec& spec, Listing& listing) : spec_(spec), listing_(listing) {}

  void add(const ListLine& line) {
    const std::string file = (spec_.root / line.second).string();
    const auto problem = [&](const char* kind, const std::string& message,
                             DataProblem::Lost lost = DataProblem::Lost::kPicture) {
      listing_.problems.push_back({line.where, message, kind, line.path, lost});
    };
    if (std::error_code code; !fs::exists(file, code))
      return problem("missing", str(line.where, ": ", missing_file(spec_.root, line.second, line.path)));
    const std::string text = read_file(file);
    pugi::xml_document document;
    const pugi::xml_parse_result parsed = document.load_buffer(text.data(), text.size());
    if (!parsed)
      return problem("annotation", str(file, ":", line_of(text, parsed.offset), ": is no whole XML (",
                                       parsed.description(), "); fetch it again or correct it"));
    const pugi::xml_node root = document.child("annotation");
    if (!root)
      return problem("annotation",
                     str(file, ": has no <annotation>; an annotation as in PASCAL VOC is expected"));

    const std::string named = root.child("filename").text().get();
    if (!named.empty() && !names_file(named, line.path))
      return problem("other_file", str(file, ": is of '", named, "' by its <filename>, but ", line.where,
                                       " gives it to '", line.path, "'; correct one of the two"));
    Sample sample{.path = line.path};
    const double width = number_of(root.child("size").child("width")),
                 height = number_of(root.child("size").child("height"));
    constexpr double kLargest = 1 << 24;
    if (width >= 1 && width < kLargest && height >= 1 && height < kLargest) {
      sample.width = static_cast<int>(width);
      sample.height = static_cast<int>(height);
    } else {
      problem("no_size",
              str(file,
                  ": has no <size> with width and height, so nobody can tell whether its boxes are of this "
                  "picture; add them"),
              DataProblem::Lost::kNothing);
    }
    std::vector<int64_t> numbers;
    int64_t number = 0;
    for (const pugi::xml_node& object : root.children("object"))
      if (const auto box = read_object(object, str(file, ": object ", ++number), problem)) {
        sample.boxes.push_back(*box);
        numbers.push_back(number);
      }
    listing_.samples.push_back(std::move(sample));
    listing_.where.push_back(line.where);
    listing_.annotation.push_back(file);
    listing_.objects.push_back(std::move(numbers));
  }

 private:
  template <class Problem>
  std::optional<ObjectBox> read_object(const pugi::xml_node& object, const std::string& place,
                                       const Problem& problem) const {
    const std::string name = trimmed(object.child("name").text().get());
    const auto found = std::find(listing_.labels.begin(), listing_.labels.end(), name);
    if (found == listing_.labels.end()) {
      problem("unknown_class",
              str(place, " is a '", name, "', which ", labels_name(spec_), " does not name",
                  did_you_mean(name, listing_.labels)),
              DataProblem::Lost::kBox);
      return std::nullopt;
    }
    const pugi::xml_text difficult = object.child("difficult").text();  // "1", and some tools write "true"
    const pugi::xml_node bounds = object.child("bndbox");
    const auto edge = [&](const char* key) { return static_cast<float>(number_of(bounds.child(key))); };
    return ObjectBox{.x0 = edge("xmin"),
                     .y0 = edge("ymin"),
                     .x1 = edge("xmax"),
                     .y1 = edge("ymax"),
                     .label = static_cast<int>(found - listing_.labels.begin()),
                     .difficult = difficult.as_int() != 0 || difficult.as_bool()};
  }

  const DataSpec& spec_;
  Listing& listing_;
};

}  // namespace

Listing read_voc(const DataSpec& spec, Split split) {
  Listing listing;
  listing.labels = read_labels(spec);
  const std::vector<ListLine> lines =
      read_list(spec, split, Second::kPath, "has no annotation", "image.jpg annotation.xml", listing);
  AnnotationReader reader(spec, listing);
  for (const ListLine& line : lines) reader.add(line);
  return listing;
}

}  // namespace espalier
