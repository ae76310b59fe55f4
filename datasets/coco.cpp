// Format "coco": one JSON file a split, as of the COCO detection task, and a folder of pictures. A box is
// left, top, width and height, edges between pixels; iscrowd marks regions of many. Classes are the
// categories, by rising id, or those of a labels file, by name.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/nearest.h"
#include "datasets/coco_file.h"
#include "datasets/list_file.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

std::string json_name(const DataSpec& spec, Split split) {
  const std::string& given = spec.list_of(split);
  return given.empty() ? str(name(split), ".json") : given;
}

std::string image_folder(const DataSpec& spec, Split split) {
  std::string folder = spec.images.empty() ? "images" : spec.images;
  constexpr std::string_view kSplit = "{split}";
  if (const size_t at = folder.find(kSplit); at != std::string::npos)
    folder.replace(at, kSplit.size(), name(split));
  return folder;
}

/// id -> label; fills listing.labels.
std::map<int64_t, int> read_categories(const DataSpec& spec, const Json& categories, const fs::path& path,
                                       Listing& listing) {
  const std::map<int64_t, std::string> names = coco_categories(categories, path);
  if (!spec.labels.empty())
    listing.labels = read_labels(spec);
  else
    for (const auto& [id, name] : names) listing.labels.push_back(name);
  std::map<int64_t, int> labels;
  for (const auto& [id, name] : names) {
    const auto found = std::find(listing.labels.begin(), listing.labels.end(), name);
    ESPALIER_CHECK(found != listing.labels.end(), path.string(), ": category '", name, "' is not in ",
                   labels_name(spec), did_you_mean(name, listing.labels));
    labels[id] = static_cast<int>(found - listing.labels.begin());
  }
  ESPALIER_CHECK(!spec.labels.empty() || std::all_of(labels.begin(), labels.end(),
                                                     [n = 0](auto& l) mutable { return l.second == n++; }),
                 path.string(), ": two categories have the same name; give each its own");
  return labels;
}

}  // namespace

bool coco_has(const DataSpec& spec, Split split) { return fs::exists(spec.root / json_name(spec, split)); }

Listing read_coco(const DataSpec& spec, Split split) {
  Listing listing;
  listing.list = json_name(spec, split);
  const fs::path path = spec.root / listing.list;
  ESPALIER_CHECK(fs::exists(path), path.string(), ": there is no such file of ", name(split),
                 " annotations; write one as of the COCO detection task, or name another with data.",
                 name(split));
  const Json json = read_coco_file(path);
  const auto labels = read_categories(spec, coco_table(json, "categories", path), path, listing);
  const auto problem = [&](const char* kind, const std::string& where, const std::string& what,
                           DataProblem::Lost lost) {
    listing.problems.push_back({where, str(where, ": ", what), kind, "", lost});
  };

  std::map<int64_t, size_t> of_image;
  const fs::path folder = image_folder(spec, split);
  ESPALIER_CHECK(fs::is_directory(spec.root / folder), (spec.root / folder).string(),
                 ": there is no such folder of pictures; name it with data.images");
  int number = 0;
  for (const Json& image : coco_table(json, "images", path)) {
    ++number;
    const bool is_object = image.is_object();
    const int64_t id = is_object ? coco_integer(image, "id", kNoInteger) : kNoInteger;
    const std::string where =
        str(path.string(), ": image ", id == kNoInteger ? str("number ", number) : str(id));
    if (id == kNoInteger || !image.contains("file_name") || !image.at("file_name").is_string()) {
      problem("annotation", where, "has no id or file_name; add them", DataProblem::Lost::kPicture);
    } else if (!of_image.emplace(id, listing.samples.size()).second) {
      problem("annotation", where, "is there twice; give each image its own id", DataProblem::Lost::kPicture);
    } else {
      const auto side = [&](const char* key) {
        return static_cast<int>(std::clamp<int64_t>(coco_integer(image, key, 0), 0, 1 << 24));
      };
      listing.samples.push_back({.path = (folder / image.at("file_name").get<std::string>()).string(),
                                 .width = side("width"),
                                 .height = side("height")});
      listing.where.push_back(where);
      listing.annotation.push_back(path.string());
      listing.objects.emplace_back();
    }
  }

  for (const Json& object : coco_table(json, "annotations", path)) {
    const int64_t id = object.is_object() ? coco_integer(object, "id", 0) : 0;
    const std::string where = str(path.string(), ": object ", id);
    const auto lost = [&](const char* kind, const std::string& what) {
      problem(kind, where, what, DataProblem::Lost::kBox);
    };
    if (!object.is_object()) {
      lost("annotation", str("is ", object.dump().substr(0, 60), "; an annotation {...} is expected"));
      continue;
    }
    const auto image = of_image.find(coco_integer(object, "image_id", kNoInteger));
    const auto label = labels.find(coco_integer(object, "category_id", kNoInteger));
    const Json bbox = object.value("bbox", Json());
    if (image == of_image.end()) {
      lost("annotation", str("is of image ", object.value("image_id", Json()).dump(),
                             ", which is not in 'images'; add it or remove the annotation"));
    } else if (label == labels.end()) {
      lost("unknown_class", str("is of category ", object.value("category_id", Json()).dump(),
                                ", which is not in 'categories'; add it or correct the annotation"));
    } else {
      constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();
      const auto part = [&](size_t i) {
        return bbox.is_array() && bbox.size() == 4 && bbox[i].is_number() ? bbox[i].get<double>()
                                                                          : kNotANumber;
      };
      const double x = part(0), y = part(1);
      Sample& sample = listing.samples[image->second];
      sample.boxes.push_back({.x0 = static_cast<float>(x),
                              .y0 = static_cast<float>(y),
                              .x1 = static_cast<float>(x + part(2)),
                              .y1 = static_cast<float>(y + part(3)),
                              .label = label->second,
                              .crowd = coco_integer(object, "iscrowd", 0) != 0});
      listing.objects[image->second].push_back(id);
    }
  }
  return listing;
}

}  // namespace espalier
