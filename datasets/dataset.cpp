#include "datasets/dataset.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/nearest.h"
#include "base/random.h"
#include "datasets/listing.h"
#include "io/image.h"

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
  }
  return hash;
}

/// Rewrites labels to the numbers that the model knows. Folder names may be fewer than the model's; a list's
/// numbers mean something only if labels.txt is the same.
void match_labels(Listing& listing, const DataSpec& spec) {
  const std::vector<std::string>& known = spec.expected_labels;
  if (known.empty() || listing.labels == known) return;
  const std::string place = spec.root.string();
  if (spec.format == "image_list") {
    ESPALIER_CHECK(listing.labels.size() == known.size(), place, ": the data name ", listing.labels.size(),
                   " classes, but the model knows ", known.size(),
                   "; use the labels file it was trained with");
    for (size_t i = 0; i < known.size(); ++i)
      ESPALIER_CHECK(listing.labels[i] == known[i], place, ": class ", i, " is '", listing.labels[i],
                     "' in the data but '", known[i],
                     "' in the model; use the labels file it was trained with");
  }
  std::vector<int> number(listing.labels.size());
  for (size_t i = 0; i < number.size(); ++i) {
    const auto found = std::find(known.begin(), known.end(), listing.labels[i]);
    ESPALIER_CHECK(found != known.end(), place, ": the model does not know class '", listing.labels[i], "'",
                   did_you_mean(listing.labels[i], known));
    ESPALIER_CHECK(std::find(found + 1, known.end(), listing.labels[i]) == known.end(), place,
                   ": the model has two classes '", listing.labels[i],
                   "', so a folder of that name could be either; use an image_list with numbers");
    number[i] = static_cast<int>(found - known.begin());
  }
  for (Sample& sample : listing.samples) sample.label = number[sample.label];
  listing.labels = known;
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

}  // namespace

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
  for (const Sample& sample : samples) ++counts[sample.label];
  return counts;
}

const DataFormat& find_format(const DataSpec& spec) {
  static const std::vector<DataFormat> formats = {
      {"image_list", read_image_list, image_list_has},
      {"image_folder", read_image_folder, image_folder_has},
  };
  std::vector<std::string> names;
  for (const DataFormat& format : formats) {
    if (format.name != spec.format) {
      names.push_back(format.name);
      continue;
    }
    ESPALIER_CHECK(fs::exists(spec.root), spec.root.string(),
                   ": there is no such folder; set data.root to where the pictures are");
    ESPALIER_CHECK(fs::is_directory(spec.root), spec.root.string(),
                   ": is a file; set data.root to the folder with the pictures");
    return format;
  }
  fail(str("data.format '", spec.format, "' is unknown", did_you_mean(spec.format, names)));
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
    const auto [before, fresh] = first.emplace(fs::path(sample.path).lexically_normal().string(), i);
    if (!fresh) {
      const Sample& other = listing.samples[before->second];
      problem("duplicate", str("'", sample.path, "' is already in ", listing.where[before->second],
                               other.label == sample.label ? "; remove one of the two lines"
                                                           : str(" with label ", other.label, ", here with ",
                                                                 sample.label, "; keep the right one")));
    } else if (std::error_code code; !fs::exists(root / sample.path, code)) {
      problem("missing",
              str("there is no file '", sample.path, "' in ", root.string(),
                  sample.path.find('\\') == std::string::npos ? "; correct the path or remove the line"
                                                              : "; write the path with / instead of \\"));
    }
  }
  return problems;
}

std::vector<DataProblem> find_unreadable_entries(const fs::path& root, const Listing& listing,
                                                 std::vector<bool>& bad) {
  std::vector<std::string> messages(listing.samples.size());
  tbb::parallel_for(size_t{0}, messages.size(), [&](size_t i) {
    if (bad[i]) return;
    try {
      read_image(root / listing.samples[i].path);
    } catch (const Error& error) {
      messages[i] = error.what();
    }
  });
  std::vector<DataProblem> problems;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].empty()) continue;
    bad[i] = true;
    problems.push_back({listing.where[i], messages[i], "unreadable", listing.samples[i].path});
  }
  return problems;
}

std::vector<DataProblem> find_empty_classes(const Listing& listing, Split split,
                                            const std::vector<bool>& bad) {
  std::vector<int> counts(listing.labels.size());
  for (size_t i = 0; i < listing.samples.size(); ++i) counts[listing.samples[i].label] += !bad[i];
  std::vector<DataProblem> problems;
  for (size_t label = 0; label < counts.size(); ++label) {
    if (counts[label] > 0) continue;
    problems.push_back({listing.list,
                        str(listing.list, ": class '", listing.labels[label], "' (label ", label,
                            ") has no pictures in ", name(split), "; add some or remove the class"),
                        "empty_class", ""});
  }
  return problems;
}

Dataset open_dataset(const DataSpec& spec, Split split) {
  const DataFormat& format = find_format(spec);
  Listing listing = format.read(spec, split);
  std::vector<DataProblem> problems = std::move(listing.problems);
  const auto add = [&](const std::vector<DataProblem>& more) {
    problems.insert(problems.end(), more.begin(), more.end());
  };
  std::vector<bool> bad(listing.samples.size());
  add(find_bad_entries(spec.root, listing, bad));
  if (spec.check_images) add(find_unreadable_entries(spec.root, listing, bad));
  if (split == Split::kTrain) add(find_empty_classes(listing, split, bad));

  Dataset data;
  const fs::path root = fs::absolute(spec.root).lexically_normal();
  data.name = str((root.has_filename() ? root : root.parent_path()).filename().string(), "/", name(split));
  data.root = spec.root;
  match_labels(listing, spec);
  data.labels = std::move(listing.labels);
  data.ignored = std::move(listing.ignored);
  const bool nothing_listed = listing.samples.empty() && problems.empty();
  ESPALIER_CHECK(!nothing_listed, (spec.root / listing.list).lexically_normal().string(),
                 ": lists no pictures; add some");
  if (!problems.empty() && spec.on_error == OnError::kStop) fail_with(data.name, problems);
  data.skipped = std::move(problems);
  for (size_t i = 0; i < listing.samples.size(); ++i)
    if (!bad[i]) data.samples.push_back(std::move(listing.samples[i]));
  ESPALIER_CHECK(!data.samples.empty(), data.name,
                 ": none of its pictures can be used; the first: ", data.skipped.front().message);
  data.hash = hash_of(data);
  return data;
}

bool has_split(const DataSpec& spec, Split split) { return find_format(spec).has_split(spec, split); }

std::vector<DataProblem> find_unreadable(const Dataset& data) {
  Listing listing;
  listing.labels = data.labels;
  listing.samples = data.samples;
  for (const Sample& sample : data.samples) listing.where.push_back(data.path(sample).string());
  std::vector<bool> bad(data.samples.size());
  return find_unreadable_entries(data.root, listing, bad);
}

Dataset subset(const Dataset& data, int64_t count, uint64_t seed) {
  if (count >= data.size()) return data;
  std::vector<int> order(data.samples.size());
  std::iota(order.begin(), order.end(), 0);
  Random random(seed, Purpose::kSubset);
  shuffle(order, random);
  // The n-th of a class with c pictures is due at (n + 1/2) / c, so every beginning has the classes'
  // proportions.
  const std::vector<int> counts = data.class_counts();
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
