// Format "image_folder": one folder a class, under root/train, root/val and root/test, or under root alone.

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "base/utf8.h"
#include "datasets/listing.h"
#include "io/image.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

std::string folder_name(const DataSpec& spec, Split split) {
  const std::string& given = spec.list_of(split);
  return given.empty() ? name(split) : given;
}

bool hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

/// True for root/train/CLASS, false for root/CLASS.
bool has_split_folders(const DataSpec& spec) {
  if (fs::is_directory(spec.root / folder_name(spec, Split::kTrain))) return true;
  for (const Split other : {Split::kVal, Split::kTest})
    ESPALIER_CHECK(!fs::is_directory(spec.root / folder_name(spec, other)), spec.root.string(),
                   ": has a folder '", folder_name(spec, other), "' but none '",
                   folder_name(spec, Split::kTrain),
                   "'; name it with data.train, or put the class folders of all "
                   "pictures directly into the root");
  return false;
}

/// A link to a folder that it lies in: to follow it would never end.
bool leads_upwards(const fs::directory_entry& entry) {
  if (!entry.is_symlink() || !entry.is_directory()) return false;
  const std::string target = (fs::canonical(entry.path()) / "").string(),
                    place = (fs::canonical(entry.path().parent_path()) / "").string();
  return place.starts_with(target);
}

std::vector<std::string> class_folders(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && !hidden(entry.path())) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// Files of one class, sorted, relative to root; what is no picture by its extension goes to `ignored`.
std::vector<std::string> class_files(const fs::path& root, const fs::path& folder,
                                     std::vector<std::string>& ignored) {
  std::vector<std::string> files;
  if (!fs::is_directory(folder)) return files;
  for (fs::recursive_directory_iterator at(folder, fs::directory_options::follow_directory_symlink), end;
       at != end; ++at) {
    if (hidden(at->path()) || leads_upwards(*at))
      at.disable_recursion_pending();
    else if (at->is_regular_file())
      (has_image_extension(at->path()) ? files : ignored)
          .push_back(at->path().lexically_relative(root).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The part of a class that belongs to a split when the disk does not say: files in the order of their
/// hashes, the first val_share of them for val, the next test_share for test, and at least one for training.
std::vector<std::string> hashed_part(std::vector<std::string> files, const DataSpec& spec, Split split) {
  const auto key = [](const std::string& file) { return fnv1a(file.data(), file.size()); };
  std::sort(files.begin(), files.end(), [&](const std::string& a, const std::string& b) {
    return std::pair(key(a), a) < std::pair(key(b), b);
  });
  const auto share = [&](double part) { return static_cast<int64_t>(std::llround(files.size() * part)); };
  const int64_t count = static_cast<int64_t>(files.size()), spare = std::max<int64_t>(count - 1, 0);
  const int64_t val = std::min(share(spec.val_share), spare);
  const int64_t test = std::min(share(spec.test_share), spare - val);
  const auto at = [&](int64_t i) { return files.begin() + i; };
  std::vector<std::string> part = split == Split::kVal    ? std::vector(at(0), at(val))
                                  : split == Split::kTest ? std::vector(at(val), at(val + test))
                                                          : std::vector(at(val + test), files.end());
  std::sort(part.begin(), part.end());
  return part;
}

}  // namespace

bool image_folder_has(const DataSpec& spec, Split split) {
  if (has_split_folders(spec)) return fs::is_directory(spec.root / folder_name(spec, split));
  return split == Split::kTrain || (split == Split::kVal ? spec.val_share : spec.test_share) > 0;
}

Listing read_image_folder(const DataSpec& spec, Split split) {
  ESPALIER_CHECK(spec.val_share >= 0 && spec.test_share >= 0 && spec.val_share + spec.test_share < 1,
                 "data: val_share is ", spec.val_share, " and test_share is ", spec.test_share,
                 "; both must be at least 0 and leave something for training");
  Listing listing;
  const bool split_folders = has_split_folders(spec);
  const std::string train = split_folders ? folder_name(spec, Split::kTrain) : "";
  listing.list = split_folders ? folder_name(spec, split) : ".";
  const fs::path folder = split_folders ? spec.root / listing.list : spec.root;
  ESPALIER_CHECK(fs::is_directory(folder), folder.string(), ": there is no such folder of ", name(split),
                 " pictures; make one with a folder for every class, or name another with data.",
                 name(split));
  listing.labels = class_folders(train.empty() ? spec.root : spec.root / train);
  ESPALIER_CHECK(!listing.labels.empty(), (spec.root / train).string(),
                 ": has no class folders; expected one folder of pictures for every class");
  for (const std::string& label : listing.labels)
    ESPALIER_CHECK(is_utf8(label), (spec.root / train / label).string(),
                   ": its name is no UTF-8 text, which the name of a class must be; rename the folder");
  for (const std::string& other : class_folders(folder))
    if (std::find(listing.labels.begin(), listing.labels.end(), other) == listing.labels.end()) {
      const std::string where = (folder / other).string();
      listing.problems.push_back({where,
                                  str(where, ": class '", other, "' has no folder under ", train,
                                      ", so nothing can learn it; add one or remove this"),
                                  "unknown_class", ""});
    }
  for (size_t label = 0; label < listing.labels.size(); ++label) {
    std::vector<std::string> files = class_files(spec.root, folder / listing.labels[label], listing.ignored);
    if (!split_folders) files = hashed_part(std::move(files), spec, split);
    for (std::string& file : files) {
      listing.where.push_back((spec.root / file).string());
      listing.samples.push_back({std::move(file), static_cast<int>(label)});
    }
  }
  return listing;
}

}  // namespace espalier
