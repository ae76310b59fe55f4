// What is wrong with the files of a listing: pictures that cannot be read, annotations that are not of their
// picture, boxes that are none.

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "base/error.h"
#include "base/random.h"
#include "base/utf8.h"
#include "datasets/each_picture.h"
#include "datasets/list_file.h"
#include "datasets/mask.h"
#include "io/file.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

void look_at_mask(const fs::path& path, const Sample& sample, int classes, Look& look) {
  const Mask mask = read_mask(path, classes);
  ESPALIER_CHECK(mask.width == look.info.width && mask.height == look.info.height, path.string(), ": is ",
                 mask.width, "x", mask.height, ", but its picture '", sample.path, "' has ", look.info.width,
                 "x", look.info.height, " pixels; make them equal");
  look.pixels.assign(classes, 0);
  for (const uint8_t c : mask.classes) ++(c == Mask::kIgnored ? look.ignored : look.pixels[c]);
}

Look look_at(const fs::path& root, const Listing& listing, size_t i, LookAt depth) {
  const Sample& sample = listing.samples[i];
  Look look;
  try {
    const fs::path path = root / sample.path;
    const std::string bytes = read_file(path);
    const auto span = std::as_bytes(std::span(bytes));
    look.info = inspect_image(span, path.string());
    if (depth == LookAt::kEverything) {
      look.content = fnv1a(bytes.data(), bytes.size());
      decode_image(span, path.string());
      if (!sample.mask.empty()) {
        look.kind = "mask";
        look_at_mask(root / sample.mask, sample, static_cast<int>(listing.labels.size()), look);
      }
    }
    look.kind = "other_size";
    ESPALIER_CHECK(
        sample.width == 0 || (sample.width == look.info.width && sample.height == look.info.height),
        listing.annotation[i], ": is of a picture of ", sample.width, "x", sample.height, ", but '",
        sample.path, "' has ", look.info.width, "x", look.info.height,
        " pixels (upright); correct the annotation");
    look.kind.clear();
  } catch (const Error& error) {
    look.error = error.what();
    if (look.kind.empty()) look.kind = "unreadable";
  }
  return look;
}

std::string numbers_of(const ObjectBox& box) { return str(box.x0, ", ", box.y0, ", ", box.x1, ", ", box.y1); }

}  // namespace

std::vector<Look> look_at_files(const fs::path& root, const Listing& listing, const std::vector<bool>& bad,
                                LookAt depth) {
  std::vector<Look> looks(listing.samples.size());
  for_each_picture(looks.size(), [&](size_t i) {
    const Sample& sample = listing.samples[i];
    const bool wanted = depth == LookAt::kEverything || (!sample.boxes.empty() && sample.width == 0);
    if (!bad[i] && wanted) looks[i] = look_at(root, listing, i, depth);
  });
  return looks;
}

std::vector<DataProblem> find_bad_entries(const fs::path& root, const Listing& listing,
                                          std::vector<bool>& bad) {
  std::vector<DataProblem> problems;
  std::map<std::string, size_t> first;
  for (size_t i = 0; i < listing.samples.size(); ++i) {
    const Sample& sample = listing.samples[i];
    const std::string& where = listing.where[i];
    const auto problem = [&](const char* kind, const std::string& what) {
      bad[i] = true;
      problems.push_back({where, str(where, ": ", what), kind, sample.path});
    };
    const auto missing = [&](const std::string& path, const std::string& other) {
      if (std::error_code code; fs::exists(root / path, code)) return false;
      problem("missing", missing_file(root, path, other));
      return true;
    };
    const auto [before, fresh] = first.emplace(fs::path(sample.path).lexically_normal().string(), i);
    if (!fresh) {
      const Sample& other = listing.samples[before->second];
      problem("duplicate", str("'", sample.path, "' is already in ", listing.where[before->second],
                               other.label == sample.label ? "; remove one of the two lines"
                                                           : str(" with label ", other.label, ", here with ",
                                                                 sample.label, "; keep the right one")));
    } else if (!is_utf8(sample.path)) {
      problem("name", str("the name of '", sample.path, "' is no UTF-8 text; rename the file"));
    } else if (!missing(sample.path, sample.mask) && !sample.mask.empty()) {
      missing(sample.mask, sample.path);
    }
  }
  return problems;
}

std::vector<DataProblem> find_unreadable_entries(const Listing& listing, const std::vector<Look>& looks,
                                                 std::vector<bool>& bad) {
  std::vector<DataProblem> problems;
  for (size_t i = 0; i < looks.size(); ++i) {
    if (looks[i].error.empty()) continue;
    bad[i] = true;
    problems.push_back({listing.where[i], looks[i].error, looks[i].kind, listing.samples[i].path});
  }
  return problems;
}

std::vector<DataProblem> take_bad_boxes(Listing& listing, const std::vector<Look>& looks,
                                        const std::vector<bool>& bad, std::vector<DataProblem>* clipped) {
  std::vector<DataProblem> problems;
  for (size_t i = 0; i < listing.samples.size(); ++i) {
    Sample& sample = listing.samples[i];
    if (bad[i] || sample.boxes.empty()) continue;
    const int width = looks[i].info.width ? looks[i].info.width : sample.width,
              height = looks[i].info.height ? looks[i].info.height : sample.height;
    std::vector<ObjectBox> kept;
    for (size_t b = 0; b < sample.boxes.size(); ++b) {
      ObjectBox box = sample.boxes[b];
      const std::string place = str(listing.annotation[i], ": object ", listing.objects[i][b], " (",
                                    listing.labels[box.label], " on ", sample.path, ")");
      const auto say = [&](std::vector<DataProblem>& list, const char* kind, const std::string& what) {
        list.push_back({listing.where[i], str(place, " has the box ", numbers_of(box), ", ", what), kind,
                        sample.path, DataProblem::Lost::kBox});
      };
      if (!std::isfinite(box.x0) || !std::isfinite(box.y0) || !std::isfinite(box.x1) ||
          !std::isfinite(box.y1)) {
        say(problems, "box_numbers", "which are not four finite numbers; correct or remove it");
        continue;
      }
      if (!(box.x0 < box.x1 && box.y0 < box.y1)) {
        say(problems, "box_area", "which has no area; correct or remove it");
        continue;
      }
      const float right = static_cast<float>(width), bottom = static_cast<float>(height);
      const ObjectBox given = box;
      box.x0 = std::clamp(box.x0, 0.0f, right), box.x1 = std::clamp(box.x1, 0.0f, right);
      box.y0 = std::clamp(box.y0, 0.0f, bottom), box.y1 = std::clamp(box.y1, 0.0f, bottom);
      if (!(box.x0 < box.x1 && box.y0 < box.y1)) {
        box = given;
        say(problems, "box_outside",
            str("which lies outside of the picture of ", width, "x", height, "; correct or remove it"));
        continue;
      }
      const bool changed =
          box.x0 != given.x0 || box.y0 != given.y0 || box.x1 != given.x1 || box.y1 != given.y1;
      kept.push_back(box);
      if (!changed || !clipped) continue;
      box = given;
      say(*clipped, "box_clipped",
          str("which reaches over the edge of the picture of ", width, "x", height, " and is clipped there"));
    }
    sample.boxes = std::move(kept);
  }
  return problems;
}

std::vector<int> count_classes(const Listing& listing, const std::vector<Look>& looks,
                               const std::vector<bool>& bad) {
  std::vector<int> counts(listing.labels.size());
  const std::string& task = listing.task;
  for (size_t i = 0; i < listing.samples.size(); ++i) {
    if (bad[i]) continue;
    const Sample& sample = listing.samples[i];
    if (task == "classification") ++counts[sample.label];
    for (const ObjectBox& box : sample.boxes) ++counts[box.label];
    for (size_t c = 0; c < looks[i].pixels.size(); ++c) counts[c] += looks[i].pixels[c] > 0;
  }
  return counts;
}

std::vector<DataProblem> find_empty_classes(const Listing& listing, Split split,
                                            const std::vector<int>& counts) {
  std::vector<DataProblem> problems;
  for (size_t label = 0; label < counts.size(); ++label) {
    if (counts[label] > 0) continue;
    problems.push_back({listing.list,
                        str(listing.list, ": class '", listing.labels[label], "' (label ", label, ") has no ",
                            listing.task == "detection" ? "boxes" : "pictures", " in ", name(split),
                            "; add some or ", listing.leaves_out_a_class),
                        "empty_class", "", DataProblem::Lost::kNothing});
  }
  return problems;
}

std::vector<DataProblem> find_masks_of_0_and_255(const Listing& listing, const std::vector<Look>& looks,
                                                 const std::vector<bool>& bad) {
  int64_t usable = 0, count = 0;
  std::string first;
  for (size_t i = 0; i < listing.samples.size(); ++i) {
    if (bad[i] || looks[i].pixels.empty()) continue;
    ++usable;
    const std::vector<int64_t>& pixels = looks[i].pixels;
    const bool others = std::any_of(pixels.begin() + 1, pixels.end(), [](int64_t n) { return n > 0; });
    if (looks[i].ignored == 0 || pixels[0] == 0 || others) continue;
    if (count++ == 0) first = listing.samples[i].mask;
  }
  if (count == 0 || listing.labels.size() < 2) return {};
  return {{listing.list,
           str(listing.list, ": ", count, " of ", usable, " masks hold only 0 and 255, the first '", first,
               "', and 255 is ignored; where it stands for a class, write the number of the class"),
           "only_ignored", "", DataProblem::Lost::kNothing}};
}

std::vector<DataProblem> find_nothing_to_measure(const Listing& listing, Split split,
                                                 const std::vector<Look>& looks,
                                                 const std::vector<bool>& bad) {
  int64_t usable = 0, looked = 0, counting = 0;
  for (size_t i = 0; i < listing.samples.size(); ++i) {
    if (bad[i]) continue;
    ++usable;
    for (const ObjectBox& box : listing.samples[i].boxes) counting += !box.difficult && !box.crowd;
    looked += !looks[i].pixels.empty();
    for (const int64_t pixels : looks[i].pixels) counting += pixels;
  }
  const bool boxes = listing.task == "detection", masks = listing.task == "segmentation" && looked == usable;
  if (split == Split::kTrain || usable == 0 || counting > 0 || !(boxes || masks)) return {};
  const std::string what =
      boxes
          ? str("none of its ", usable, " pictures has an object, those apart that are difficult or a crowd")
          : str("all pixels of its ", usable, " masks are ", int{Mask::kIgnored}, ", which is ignored");
  return {{listing.list, str(listing.list, ": ", what, "; nothing can be measured: correct ", name(split)),
           "nothing_to_measure", "", DataProblem::Lost::kNothing}};
}

}  // namespace espalier
