// Format "coco": one JSON file a split, as of the COCO detection task, and a folder of pictures. A box is
// left, top, width and height, edges between pixels; iscrowd marks regions of many. Classes are the
// categories, by rising id, or those of a labels file, by name, which may leave out what no box has.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

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

/// Where the pictures may lie, relative to the root: the folder that data.images names; by default "images",
/// and beside the JSON file, as Roboflow and Label Studio export them.
std::vector<fs::path> picture_folders(const DataSpec& spec, Split split) {
  if (spec.images.empty()) return {"images", fs::path(json_name(spec, split)).parent_path()};
  std::string folder = spec.images;
  constexpr std::string_view kSplit = "{split}";
  if (const size_t at = folder.find(kSplit); at != std::string::npos)
    folder.replace(at, kSplit.size(), name(split));
  return {folder};
}

/// Without the folder and without pictures elsewhere one line says it, instead of one for each picture.
void check_folder(const fs::path& root, const fs::path& folder, const std::vector<Sample>& samples) {
  const auto is_there = [&](const Sample& sample) {
    std::error_code code;
    return fs::exists(root / sample.path, code);
  };
  ESPALIER_CHECK(fs::is_directory(root / folder) || std::any_of(samples.begin(), samples.end(), is_there),
                 (root / folder).string(), ": there is no such folder of pictures; name it with data.images");
}

/// The file in the first folder that holds it; that of the first one where none does.
std::string find_picture(const fs::path& root, const std::vector<fs::path>& folders,
                         const std::string& file) {
  const auto holds = [&](const fs::path& folder) {
    std::error_code code;
    return fs::exists(root / folder / file, code);
  };
  const auto found = std::find_if(folders.begin(), folders.end(), holds);
  return ((found == folders.end() ? folders.front() : *found) / file).string();
}

/// A category's name and label; none where a labels file leaves it out.
struct Category {
  std::string name;
  std::optional<int> label;
};

/// By id; fills listing.labels.
std::map<int64_t, Category> read_categories(const DataSpec& spec, const Json& categories,
                                            const fs::path& path, Listing& listing) {
  const std::map<int64_t, std::string> names = coco_categories(categories, path);
  if (!spec.labels.empty())
    listing.labels = read_labels(spec);
  else
    for (const auto& [id, name] : names) listing.labels.push_back(name);
  listing.leaves_out_a_class = spec.labels.empty() ? "name those that count in a labels file, data.labels"
                                                   : "take the class out of " + labels_name(spec);
  std::map<int64_t, Category> known;
  for (const auto& [id, name] : names) {
    const auto found = std::find(listing.labels.begin(), listing.labels.end(), name);
    known[id].name = name;
    if (found != listing.labels.end()) known[id].label = static_cast<int>(found - listing.labels.begin());
  }
  std::set<std::string> different;
  for (const auto& [id, name] : names)
    ESPALIER_CHECK(different.insert(name).second, path.string(), ": two categories have the same name, '",
                   name, "'; give each its own");
  return known;
}

/// Ids that images of different files have: nobody can tell whose boxes are whose.
std::set<int64_t> ambiguous_ids(const Json& images) {
  std::map<int64_t, Json> files;
  std::set<int64_t> ambiguous;
  for (const Json& image : images) {
    if (!image.is_object()) continue;
    const int64_t id = coco_integer(image, "id", kNoInteger);
    if (id == kNoInteger) continue;
    const Json file = image.value("file_name", Json());
    if (const auto [found, fresh] = files.emplace(id, file); !fresh && found->second != file)
      ambiguous.insert(id);
  }
  return ambiguous;
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
  const auto categories = read_categories(spec, coco_table(json, "categories", path), path, listing);
  const auto problem = [&](const char* kind, const std::string& where, const std::string& what,
                           DataProblem::Lost lost) {
    listing.problems.push_back({where, str(where, ": ", what), kind, "", lost});
  };

  std::map<int64_t, size_t> of_image;
  const std::vector<fs::path> folders = picture_folders(spec, split);
  const Json& images = coco_table(json, "images", path);
  const std::set<int64_t> ambiguous = ambiguous_ids(images);
  int number = 0;
  for (const Json& image : images) {
    ++number;
    const bool is_object = image.is_object();
    const int64_t id = is_object ? coco_integer(image, "id", kNoInteger) : kNoInteger;
    const std::string where =
        str(path.string(), ": image ", id == kNoInteger ? str("number ", number) : str(id));
    if (id == kNoInteger || !image.contains("file_name") || !image.at("file_name").is_string()) {
      problem("annotation", where, "has no whole number as id, or no file_name; add them",
              DataProblem::Lost::kPicture);
    } else if (ambiguous.count(id)) {
      problem("annotation", where,
              str("'", image.at("file_name").get<std::string>(),
                  "' shares its id with another picture, so nobody can tell whose boxes are whose; give each "
                  "its own"),
              DataProblem::Lost::kPicture);
    } else if (!of_image.emplace(id, listing.samples.size()).second) {
      problem("annotation", where, "is there twice; remove one of the two", DataProblem::Lost::kPicture);
    } else {
      const auto side = [&](const char* key) {
        return static_cast<int>(std::clamp<int64_t>(coco_integer(image, key, 0), 0, 1 << 24));
      };
      Sample sample{.path = find_picture(spec.root, folders, image.at("file_name").get<std::string>())};
      if (side("width") > 0 && side("height") > 0) {
        sample.width = side("width");
        sample.height = side("height");
      }
      listing.samples.push_back(std::move(sample));
      listing.where.push_back(where);
      listing.annotation.push_back(path.string());
      listing.objects.emplace_back();
    }
  }

  check_folder(spec.root, folders.front(), listing.samples);

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
    const int64_t image_id = coco_integer(object, "image_id", kNoInteger);
    if (ambiguous.count(image_id)) continue;  // its images are said
    const auto image = of_image.find(image_id);
    const auto category = categories.find(coco_integer(object, "category_id", kNoInteger));
    const Json bbox = object.value("bbox", Json());
    if (image == of_image.end()) {
      lost("annotation", str("is of image ", object.value("image_id", Json()).dump(),
                             ", which is not in 'images'; add it or remove the annotation"));
    } else if (category == categories.end()) {
      lost("unknown_class", str("is of category ", object.value("category_id", Json()).dump(),
                                ", which is not in 'categories'; add it or correct the annotation"));
    } else if (const std::string& name = category->second.name; !category->second.label) {
      lost("unknown_class", str("is a '", name, "', which ", labels_name(spec), " does not name",
                                did_you_mean(name, listing.labels)));
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
                              .label = *category->second.label,
                              .crowd = coco_integer(object, "iscrowd", 0) != 0});
      listing.objects[image->second].push_back(id);
    }
  }
  return listing;
}

}  // namespace espalier
