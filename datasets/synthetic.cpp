#include "datasets/synthetic.h"

#include <fcntl.h>
#include <tbb/parallel_for.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/random.h"
#include "datasets/dataset.h"
#include "io/file.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

constexpr const char* kStamp = "drawn.json";  // says with which options, and whether all is there

struct Drawing {
  Split split;
  int kind, number;
};

void check_options(const SyntheticOptions& o) {
  const auto within = [](const char* what, int value, int low, int high) {
    ESPALIER_CHECK(value >= low && value <= high, "data make: ", what, " is ", value, "; it must lie in ",
                   low, " .. ", high);
  };
  within("classes", o.classes, 2, static_cast<int>(vegetable_names().size()));
  within("train", o.train, 1, 1'000'000);
  within("val", o.val, 1, 1'000'000);
  within("test", o.test, 0, 1'000'000);
  within("size", o.size, 16, 4096);
  within("quality", o.quality, 1, 100);
  const std::vector<std::string> layouts = {"image_list", "image_folder"};
  ESPALIER_CHECK(o.layout == layouts[0] || o.layout == layouts[1], "data make: layout is '", o.layout, "'",
                 did_you_mean(o.layout, layouts));
}

std::string stamp_of(const SyntheticOptions& o, bool complete) {
  return Json{{"complete", complete}, {"classes", o.classes}, {"train", o.train},
              {"val", o.val},         {"test", o.test},       {"size", o.size},
              {"seed", o.seed},       {"layout", o.layout},   {"quality", o.quality}}
      .dump();
}

/// True when the folder already holds exactly this; throws when it holds something else. What was begun with
/// the same options and not finished may be drawn over.
bool already_drawn(const fs::path& folder, const SyntheticOptions& o) {
  if (!fs::exists(folder)) return false;
  ESPALIER_CHECK(fs::is_directory(folder), folder.string(),
                 ": is a file; choose a new folder for the pictures");
  if (fs::is_empty(folder)) return false;
  ESPALIER_CHECK(fs::exists(folder / kStamp), folder.string(),
                 ": is not empty and was not made by 'data make'; choose another folder");
  const std::string found = read_file(folder / kStamp);
  if (found == stamp_of(o, true)) return true;
  ESPALIER_CHECK(found == stamp_of(o, false), folder.string(), ": holds drawn pictures with other options (",
                 found, "); choose another folder or remove this one");
  return false;
}

std::string file_of(const Drawing& d, const SyntheticOptions& o) {
  const std::string& kind = vegetable_names()[d.kind];
  const std::string number = std::to_string(d.number);
  const std::string file =
      str(kind, "_", std::string(number.size() < 4 ? 4 - number.size() : 0, '0'), number, ".jpg");
  return o.layout == "image_folder" ? str(name(d.split), "/", kind, "/", file)
                                    : str(kind, "/", name(d.split), "_", file);
}

void write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  ESPALIER_CHECK(out, path.string(),
                 ": cannot be written; check the folder, its permissions and the free space");
}

}  // namespace

bool must_draw(const fs::path& folder) {
  if (!fs::exists(folder)) return true;
  if (!fs::is_directory(folder)) return false;
  if (fs::is_empty(folder)) return true;
  if (!fs::exists(folder / kStamp)) return false;
  const Json stamp = Json::parse(read_file(folder / kStamp), nullptr, false);
  return stamp.is_object() && stamp.value("complete", true) == false;
}

void make_vegetables(const fs::path& folder, const SyntheticOptions& o) {
  check_options(o);
  if (already_drawn(folder, o)) return;
  std::error_code code;
  fs::create_directories(folder, code);
  ESPALIER_CHECK(!code, folder.string(), ": the folder cannot be made (", code.message(), ")");
  write_atomically(folder / kStamp, stamp_of(o, false));

  std::vector<Drawing> drawings;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest})
    for (int kind = 0; kind < o.classes; ++kind)
      for (int i = 0; i < (split == Split::kTrain ? o.train : split == Split::kVal ? o.val : o.test); ++i)
        drawings.push_back({split, kind, i});
  for (const Drawing& d : drawings) {
    const fs::path parent = (folder / file_of(d, o)).parent_path();
    fs::create_directories(parent, code);
    ESPALIER_CHECK(!code, parent.string(), ": the folder cannot be made (", code.message(), ")");
  }
  tbb::parallel_for(size_t{0}, drawings.size(), [&](size_t i) {
    const Drawing& d = drawings[i];
    // The splits draw from one sequence each: more training pictures do not change the others.
    const uint64_t index = static_cast<uint64_t>(d.split) << 32 | static_cast<uint32_t>(d.number);
    write_file(folder / file_of(d, o), encode_jpeg(draw_vegetable(d.kind, o.size, o.seed, index), o.quality));
  });
  if (o.layout == "image_list") {
    std::string labels;
    for (int kind = 0; kind < o.classes; ++kind) labels += vegetable_names()[kind] + "\n";
    write_file(folder / "labels.txt", labels);
    for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
      std::string list;
      for (const Drawing& d : drawings)
        if (d.split == split) list += str(file_of(d, o), " ", d.kind, "\n");
      if (!list.empty()) write_file(folder / str(name(split), "_list.txt"), list);
    }
  }
  // One flush for all files, before the stamp vouches for them.
  if (const int d = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); d >= 0) {
    ::syncfs(d);
    ::close(d);
  }
  write_atomically(folder / kStamp, stamp_of(o, true));
}

}  // namespace espalier
