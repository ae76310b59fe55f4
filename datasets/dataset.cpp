#include "datasets/dataset.h"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <unordered_set>

#include "base/error.h"
#include "base/nearest.h"
#include "base/random.h"
#include "datasets/list_file.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

uint64_t hash_of(const Dataset& data) {
  uint64_t hash = fnv1a(nullptr, 0);
  const auto add = [&](const std::string& text) { hash = fnv1a(text.c_str(), text.size() + 1, hash); };
  for (const std::string& label : data.labels) add(label);
  for (const Sample& sample : data.samples) {
    add(sample.path);
    hash = fnv1a(&sample.label, sizeof sample.label, hash);
    hash = fnv1a(&sample.contents, sizeof sample.contents, hash);
    if (!sample.mask.empty()) add(sample.mask);
    for (const ObjectBox& box : sample.boxes) {
      const float edges[] = {box.x0, box.y0, box.x1, box.y1};
      const int about[] = {box.label, box.difficult, box.crowd};
      hash = fnv1a(about, sizeof about, fnv1a(edges, sizeof edges, hash));
    }
  }
  return hash;
}

/// One line for one problem; otherwise a line that counts them and one for each.
[[noreturn]] void fail_with(const std::string& data, const std::vector<DataProblem>& problems) {
  if (problems.size() == 1) fail(problems[0].message);
  constexpr size_t kMost = 100;
  std::string message = str(data, ": ", problems.size(),
                            " problems; correct them, or go without these with data.on_error: skip");
  for (size_t i = 0; i < std::min(problems.size(), kMost); ++i) message += "\n  " + problems[i].message;
  if (problems.size() > kMost)
    message += str("\n  and ", problems.size() - kMost, " more; 'espalier data check' lists them all");
  fail(message);
}

/// ".xml" of "a.jpg a.xml"; empty without a line.
std::string first_line_ending(const fs::path& list) {
  std::ifstream in(list);
  for (std::string line; std::getline(in, line);)
    if (const std::string text = trimmed(line); !text.empty()) return fs::path(text).extension().string();
  return "";
}

const std::vector<DataFormat>& data_formats() {
  static const std::vector<DataFormat> formats = {
      {"image_list", "classification", read_image_list, list_exists},
      {"image_folder", "classification", read_image_folder, image_folder_has},
      {"voc", "detection", read_voc, list_exists},
      {"coco", "detection", read_coco, coco_has},
      {"segmentation_list", "segmentation", read_segmentation_list, list_exists},
  };
  return formats;
}

const DataFormat& format_named(const std::string& wanted) {
  for (const DataFormat& format : data_formats())
    if (format.name == wanted) return format;
  fail(str("data.format '", wanted, "' is unknown", did_you_mean(wanted, dataset_formats())));
}

}  // namespace

std::vector<std::string> dataset_formats() {
  std::vector<std::string> names;
  for (const DataFormat& format : data_formats()) names.push_back(format.name);
  return names;
}

void match_labels(Listing& listing, const DataSpec& spec, const std::vector<std::string>& known) {
  if (known.empty() || listing.labels == known) return;
  const std::string place = (spec.root / listing.list).lexically_normal().string();
  if (spec.format == "image_list" || spec.format == "segmentation_list") {
    ESPALIER_CHECK(listing.labels.size() == known.size(), place, ": the data name ", listing.labels.size(),
                   " classes, but the model knows ", known.size(),
                   "; use the labels file it was trained with");
    for (size_t i = 0; i < known.size(); ++i)
      ESPALIER_CHECK(listing.labels[i] == known[i], place, ": class ", i, " is '", listing.labels[i],
                     "' in the data but '", known[i],
                     "' in the model; use the labels file it was trained with");
  }
  const auto number = [&](int label) {
    const std::string& name = listing.labels[label];
    const auto found = std::find(known.begin(), known.end(), name);
    ESPALIER_CHECK(found != known.end(), place, ": the model does not know class '", name, "'",
                   did_you_mean(name, known));
    ESPALIER_CHECK(std::find(found + 1, known.end(), name) == known.end(), place,
                   ": the model has two classes '", name,
                   "', so a folder of that name could be either; use an image_list with numbers");
    return static_cast<int>(found - known.begin());
  };
  for (Sample& sample : listing.samples) {
    if (listing.task == "classification") sample.label = number(sample.label);
    for (ObjectBox& box : sample.boxes) box.label = number(box.label);
  }
  listing.labels = known;
}

const char* name(Split split) {
  constexpr const char* names[] = {"train", "val", "test"};
  return names[static_cast<int>(split)];
}

OnError on_error_from_name(const std::string& name) {
  if (name == "stop") return OnError::kStop;
  ESPALIER_CHECK(name == "skip", "data.on_error is '", name, "'; stop and skip are known");
  return OnError::kSkip;
}

std::vector<int> Dataset::class_counts() const {
  std::vector<int> counts(labels.size());
  for (const Sample& sample : samples) {
    if (task == "classification") ++counts[sample.label];
    for (const ObjectBox& box : sample.boxes) ++counts[box.label];
  }
  return counts;
}

int64_t Dataset::skipped_pictures() const {
  return std::count_if(skipped.begin(), skipped.end(),
                       [](const DataProblem& p) { return p.lost == DataProblem::Lost::kPicture; });
}

const std::string& task_of_format(const std::string& format) { return format_named(format).task; }

std::string likely_format(const std::string& task, const fs::path& root) {
  DataSpec spec;
  spec.root = root;
  std::string usual;
  for (const DataFormat& format : data_formats()) {
    if (format.task != task) continue;
    if (usual.empty()) usual = format.name;
    for (const Split split : {Split::kTrain, Split::kVal, Split::kTest})
      if (fs::is_directory(root) && format.has_split(spec, split)) return format.name;
  }
  return usual;
}

std::string likely_format(const fs::path& root) {
  DataSpec spec;
  spec.root = root;
  if (!fs::is_directory(root)) return spec.format;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    if (list_exists(spec, split)) {
      const std::string second = first_line_ending(root / list_name(spec, split));
      return second == ".xml" ? "voc" : second == ".png" ? "segmentation_list" : "image_list";
    }
    if (coco_has(spec, split)) return "coco";
  }
  const auto is_folder = [](const fs::directory_entry& entry) { return entry.is_directory(); };
  const bool labelled = fs::exists(root / labels_name(spec));
  return !labelled && std::any_of(fs::directory_iterator(root), fs::directory_iterator(), is_folder)
             ? "image_folder"
             : spec.format;
}

const DataFormat& find_format(const DataSpec& spec) {
  const DataFormat& format = format_named(spec.format);
  ESPALIER_CHECK(fs::exists(spec.root), spec.root.string(),
                 ": there is no such folder; set data.root to where the pictures are");
  ESPALIER_CHECK(fs::is_directory(spec.root), spec.root.string(),
                 ": is a file; set data.root to the folder with the pictures");
  return format;
}

Listing read_listing(const DataSpec& spec, Split split) {
  const DataFormat& format = find_format(spec);
  Listing listing = format.read(spec, split);
  listing.task = format.task;
  return listing;
}

Dataset open_dataset(const DataSpec& spec, Split split) {
  Listing listing = read_listing(spec, split);
  std::vector<DataProblem> problems = std::move(listing.problems);
  const auto add = [&](const std::vector<DataProblem>& more) {
    problems.insert(problems.end(), more.begin(), more.end());
  };
  std::vector<bool> bad(listing.samples.size());
  add(find_bad_entries(spec.root, listing, bad));
  const std::vector<Look> looks =
      look_at_files(spec.root, listing, bad, spec.check_images ? LookAt::kEverything : LookAt::kSizes);
  add(find_unreadable_entries(listing, looks, bad));
  add(take_bad_boxes(listing, looks, bad, nullptr));
  const bool counted = listing.task != "segmentation" || spec.check_images;
  if (split == Split::kTrain && counted)
    if (const auto empty = find_empty_classes(listing, split, count_classes(listing, looks, bad));
        !empty.empty()) {
      add(empty);
      add(find_masks_of_0_and_255(listing, looks, bad));
    }
  const std::vector<DataProblem> nothing = find_nothing_to_measure(listing, split, looks, bad);

  Dataset data;
  const fs::path root = fs::absolute(spec.root).lexically_normal();
  data.name = str((root.has_filename() ? root : root.parent_path()).filename().string(), "/", name(split));
  data.task = listing.task;
  data.root = spec.root;
  match_labels(listing, spec, spec.expected_labels);
  data.labels = std::move(listing.labels);
  data.ignored = std::move(listing.ignored);
  const bool nothing_listed = listing.samples.empty() && problems.empty();
  ESPALIER_CHECK(!nothing_listed, (spec.root / listing.list).lexically_normal().string(),
                 ": lists no pictures; add some");
  if (!problems.empty() && spec.on_error == OnError::kStop) fail_with(data.name, problems);
  ESPALIER_CHECK(nothing.empty(), nothing.front().message);
  data.skipped = std::move(problems);
  for (size_t i = 0; i < listing.samples.size(); ++i)
    if (!bad[i]) data.samples.push_back(std::move(listing.samples[i]));
  ESPALIER_CHECK(!data.samples.empty(), data.name,
                 ": none of its pictures can be used; the first: ", data.skipped.front().message);
  read_contents(data);
  data.hash = hash_of(data);
  return data;
}

bool has_split(const DataSpec& spec, Split split) { return find_format(spec).has_split(spec, split); }

std::vector<std::string> shared_pictures(const Dataset& data, const Dataset& other) {
  std::unordered_set<uint64_t> contents;
  for (const Sample& sample : other.samples) contents.insert(sample.contents);
  std::vector<std::string> shared;
  for (const Sample& sample : data.samples)
    if (contents.contains(sample.contents)) shared.push_back(sample.path);
  return shared;
}

std::vector<DataProblem> find_unreadable(const Dataset& data) {
  Listing listing;
  listing.task = data.task;
  listing.labels = data.labels;
  listing.samples = data.samples;
  for (const Sample& sample : data.samples) listing.where.push_back(data.path(sample).string());
  listing.annotation = listing.where;
  std::vector<bool> bad(data.samples.size());
  const std::vector<Look> looks = look_at_files(data.root, listing, bad, LookAt::kEverything);
  return find_unreadable_entries(listing, looks, bad);
}

Dataset subset(const Dataset& data, int64_t count, uint64_t seed) {
  if (count >= data.size()) return data;
  std::vector<int> order(data.samples.size());
  std::iota(order.begin(), order.end(), 0);
  Random random(seed, Purpose::kSubset);
  shuffle(order, random);
  // The n-th of a class with c pictures is due at (n + 1/2) / c, so every beginning has the classes'
  // proportions.
  // Detection and segmentation have one label for all pictures: there the order alone decides.
  std::vector<int> counts(data.labels.size());
  for (const Sample& sample : data.samples) ++counts[sample.label];
  std::vector<int> seen(counts.size());
  std::vector<std::pair<double, int>> due;
  for (const int i : order) {
    const int label = data.samples[i].label;
    due.emplace_back((seen[label]++ + 0.5) / counts[label], i);
  }
  std::stable_sort(due.begin(), due.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<int> chosen;
  for (int64_t i = 0; i < std::max<int64_t>(count, 1); ++i) chosen.push_back(due[i].second);
  std::sort(chosen.begin(), chosen.end());
  Dataset part = data;
  part.samples.clear();
  for (const int i : chosen) part.samples.push_back(data.samples[i]);
  part.hash = hash_of(part);
  return part;
}

}  // namespace espalier
