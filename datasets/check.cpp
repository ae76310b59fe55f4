#include "datasets/check.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "datasets/listing.h"

namespace espalier {

namespace {

struct SplitContents {
  Split split;
  Listing listing;
  std::vector<bool> bad;
  std::vector<Look> looks;
};

class Findings {
 public:
  void add(const char* severity, const std::string& kind, Split split, const std::string& where,
           const std::string& message) {
    list_.push_back({{"severity", severity},
                     {"kind", kind},
                     {"split", name(split)},
                     {"where", where},
                     {"message", message}});
  }
  void add(const char* severity, Split split, const std::vector<DataProblem>& problems) {
    for (const DataProblem& p : problems) add(severity, p.kind, split, p.where, p.message);
  }
  int64_t count(const char* severity) const {
    return std::count_if(list_.begin(), list_.end(),
                         [&](const Json& f) { return f["severity"] == severity; });
  }
  Json take() { return std::move(list_); }

 private:
  Json list_ = Json::array();
};

Json spread(std::vector<int> values) {
  std::sort(values.begin(), values.end());
  return {{"min", values.front()}, {"median", values[values.size() / 2]}, {"max", values.back()}};
}

/// Of the usable pictures, those alone.
Json describe_split(const SplitContents& contents) {
  const Listing& listing = contents.listing;
  std::vector<int> widths, heights, boxes;
  std::vector<int64_t> pixels(listing.labels.size());
  std::map<std::string, int> formats;
  int64_t unreadable = 0, ignored = 0;
  for (size_t i = 0; i < listing.samples.size(); ++i) {
    const Look& look = contents.looks[i];
    unreadable += !look.error.empty();
    if (contents.bad[i]) continue;
    widths.push_back(look.info.width);
    heights.push_back(look.info.height);
    boxes.push_back(static_cast<int>(listing.samples[i].boxes.size()));
    for (size_t c = 0; c < look.pixels.size(); ++c) pixels[c] += look.pixels[c];
    ignored += look.ignored;
    ++formats[look.info.format];
  }
  Json json = {
      {"list", listing.list},       {"samples", listing.samples.size()},
      {"usable", widths.size()},    {"unreadable", unreadable},
      {"ignored", listing.ignored}, {"per_class", count_classes(listing, contents.looks, contents.bad)}};
  if (widths.empty()) return json;
  if (listing.task == "detection") {
    json["boxes"] = std::accumulate(boxes.begin(), boxes.end(), int64_t{0});
    json["without_boxes"] = std::count(boxes.begin(), boxes.end(), 0);
    json["boxes_a_picture"] = spread(boxes);
  }
  if (listing.task == "segmentation") {
    json["pixels"] = pixels;
    json["ignored_pixels"] = ignored;
  }
  json["width"] = spread(widths);
  json["height"] = spread(heights);
  json["formats"] = formats;
  return json;
}

/// Reads one split and notes what is wrong within it; none when there is nothing to read. Its classes become
/// `labels`, those of the training list.
std::optional<SplitContents> look_at_split(const DataSpec& spec, Split split,
                                           const std::vector<std::string>& labels, Findings& findings) {
  const DataFormat& format = find_format(spec);
  SplitContents contents{split, {}, {}, {}};
  Listing& listing = contents.listing;
  try {
    if (split == Split::kTest && !format.has_split(spec, split)) return std::nullopt;
    listing = read_listing(spec, split);
    match_labels(listing, spec, labels);
  } catch (const Error& error) {
    findings.add("error", "list", split, spec.root.string(), error.what());
    return std::nullopt;
  }
  contents.bad.resize(listing.samples.size());
  findings.add("error", split, listing.problems);
  findings.add("error", split, find_bad_entries(spec.root, listing, contents.bad));
  contents.looks = look_at_files(spec.root, listing, contents.bad, LookAt::kEverything);
  findings.add("error", split, find_unreadable_entries(listing, contents.looks, contents.bad));
  std::vector<DataProblem> clipped;
  findings.add("error", split, take_bad_boxes(listing, contents.looks, contents.bad, &clipped));
  findings.add("warning", split, clipped);
  if (listing.samples.empty() && listing.problems.empty())
    findings.add("error", "empty_list", split, listing.list, listing.list + ": lists no pictures; add some");
  else
    findings.add(split == Split::kTrain ? "error" : "warning", split,
                 find_empty_classes(listing, split, count_classes(listing, contents.looks, contents.bad)));
  findings.add("warning", split, find_masks_of_0_and_255(listing, contents.looks, contents.bad));
  findings.add("error", split, find_nothing_to_measure(listing, split, contents.looks, contents.bad));
  for (const std::string& file : listing.ignored)
    findings.add("warning", "ignored", split, file,
                 file + ": is no JPEG, PNG or BMP by its name and is left out; convert or remove it");
  return contents;
}

/// Pictures that are shown turned, where only their size would tell whether boxes and masks were drawn on the
/// upright one, and it does not.
void find_turned(const SplitContents& contents, Findings& findings) {
  const Listing& listing = contents.listing;
  if (listing.task == "classification") return;
  int64_t count = 0;
  std::string first;
  for (size_t i = 0; i < contents.looks.size(); ++i) {
    const ImageInfo& info = contents.looks[i].info;
    const bool sides_stay = info.orientation <= 4 || info.width == info.height;
    if (!contents.bad[i] && info.orientation != 1 && sides_stay && count++ == 0)
      first = listing.samples[i].path;
  }
  if (count == 0) return;
  findings.add("warning", "turned", contents.split, listing.list,
               str(listing.list, ": ", count,
                   " pictures are turned or mirrored by their EXIF orientation, the "
                   "first '",
                   first, "'; ", listing.task == "detection" ? "boxes" : "masks",
                   " must be those of the upright picture, which a tool that ignores EXIF does not show"));
}

/// A detector tells its one class from what lies around it; the other tasks have nothing to tell it from.
void find_single_class(const std::vector<SplitContents>& splits, Findings& findings) {
  if (splits.empty()) return;
  const auto& [split, listing, bad, looks] = splits.front();
  if (listing.task == "detection" || listing.labels.size() != 1) return;
  findings.add("warning", "one_class", split, listing.list,
               str(listing.list, ": all ", listing.task == "segmentation" ? "pixels" : "pictures",
                   " are of one class, '", listing.labels[0],
                   "', so there is nothing to learn; add a class of what it is not"));
}

/// The same bytes twice: between splits the measure is spoilt, within one with two labels one of them is
/// wrong.
void find_identical(const std::vector<SplitContents>& splits, Findings& findings) {
  struct Place {
    const SplitContents* contents;
    size_t sample;
    const std::string& label() const {
      return contents->listing.labels[contents->listing.samples[sample].label];
    }
    const std::string& path() const { return contents->listing.samples[sample].path; }
  };
  std::map<uint64_t, Place> first;
  for (const SplitContents& contents : splits)
    for (size_t i = 0; i < contents.looks.size(); ++i) {
      if (contents.bad[i]) continue;
      const Place here{&contents, i};
      const auto [found, fresh] = first.emplace(contents.looks[i].content, here);
      if (fresh) continue;
      const Place& other = found->second;
      const bool same_split = other.contents == &contents, same_label = other.label() == here.label();
      findings.add(same_split && same_label ? "warning" : "error", same_split ? "identical" : "leak",
                   contents.split, contents.listing.where[i],
                   str(contents.listing.where[i], ": '", here.path(), "' is the same picture as '",
                       other.path(), "'", same_split ? "" : str(" in ", name(other.contents->split)),
                       same_label ? "" : str(", there as ", other.label(), ", here as ", here.label()),
                       "; remove one of the two"));
    }
}

}  // namespace

Json check_dataset(const DataSpec& spec) {
  find_format(spec);
  Findings findings;
  std::vector<SplitContents> splits;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    const auto labels = splits.empty() ? std::vector<std::string>() : splits.front().listing.labels;
    if (auto contents = look_at_split(spec, split, labels, findings)) splits.push_back(std::move(*contents));
  }
  for (const SplitContents& contents : splits) find_turned(contents, findings);
  find_single_class(splits, findings);
  find_identical(splits, findings);
  Json labels = Json::array(), described = Json::object();
  for (const SplitContents& contents : splits) {
    if (labels.empty()) labels = contents.listing.labels;
    described[name(contents.split)] = describe_split(contents);
  }
  return {{"problems", findings.count("error")},
          {"warnings", findings.count("warning")},
          {"format", spec.format},
          {"task", task_of_format(spec.format)},
          {"root", spec.root.string()},
          {"labels", labels},
          {"splits", described},
          {"findings", findings.take()}};
}

std::string describe(const Json& report) {
  std::ostringstream out;
  out << report["root"].get<std::string>() << " (" << report["format"].get<std::string>()
      << "): " << report["labels"].size() << " classes\n";
  for (const auto& item : report["splits"].items()) {
    const std::string& split = item.key();
    const Json& about = item.value();
    out << "  " << split << ": " << about["usable"] << " of " << about["samples"] << " pictures usable";
    if (about.contains("width")) {
      const auto range = [&](const char* axis) {
        const Json& s = about[axis];
        return str(s["min"], " .. ", s["max"], " (median ", s["median"], ")");
      };
      out << ", width " << range("width") << ", height " << range("height");
      const Json& labels = report["labels"];
      if (about.contains("boxes")) {
        out << ", " << about["boxes"] << " boxes, " << range("boxes_a_picture") << " a picture, "
            << about["without_boxes"] << " pictures without; boxes of";
        for (size_t c = 0; c < labels.size(); ++c)
          out << (c ? ", " : " ") << labels[c].get<std::string>() << " " << about["per_class"][c];
      } else if (about.contains("pixels")) {
        const auto pixels = about["pixels"].get<std::vector<double>>();
        const double classes = std::accumulate(pixels.begin(), pixels.end(), 0.0),
                     ignored = about["ignored_pixels"].get<double>();
        const auto share = [&](double part, double all) {
          return str(std::round(1e4 * part / std::max(1.0, all)) / 100, " %");
        };
        out << "; share of the pixels of";
        for (size_t c = 0; c < labels.size(); ++c)
          out << (c ? ", " : " ") << labels[c].get<std::string>() << " " << share(pixels[c], classes);
        if (ignored > 0) out << ", and " << share(ignored, classes + ignored) << " of all ignored";
      } else {
        const auto counts = about["per_class"].get<std::vector<int>>();
        const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
        out << ", " << *least << " .. " << *most << " a class";
      }
    }
    out << "\n";
  }
  for (const Json& finding : report["findings"])
    out << finding["severity"].get<std::string>() << ": " << finding["message"].get<std::string>() << "\n";
  out << report["problems"] << " problems, " << report["warnings"] << " warnings\n";
  return out.str();
}

}  // namespace espalier
