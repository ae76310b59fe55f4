#include "datasets/synthetic.h"

#include <fcntl.h>
#include <tbb/parallel_for.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/random.h"
#include "datasets/dataset.h"
#include "io/file.h"
#include "io/index_png.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

constexpr const char* kStamp = "drawn.json";  // says with which options, and whether all is there

struct Drawing {
  Split split;
  int kind, number;
};

/// The splits draw from one sequence each: more training pictures do not change the others.
uint64_t index_of(const Drawing& d) {
  return static_cast<uint64_t>(d.split) << 32 | static_cast<uint32_t>(d.number);
}

std::string padded(int number) {
  const std::string digits = std::to_string(number);
  return std::string(digits.size() < 4 ? 4 - digits.size() : 0, '0') + digits;
}

void write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  ESPALIER_CHECK(out, path.string(),
                 ": cannot be written; check the folder, its permissions and the free space");
}

/// The paths of a drawing's files and what follows the picture in the list.
struct Files {
  std::string image, annotation;  ///< relative; the annotation may be empty
  std::string second;             ///< of the list's line; empty: the layout has no lists
};

std::string vegetable_file(const Drawing& d) {
  return str(vegetable_names()[d.kind], "_", padded(d.number), ".jpg");
}

Files image_list_files(const Drawing& d) {
  return {str(vegetable_names()[d.kind], "/", name(d.split), "_", vegetable_file(d)), "",
          std::to_string(d.kind)};
}

Files image_folder_files(const Drawing& d) {
  return {str(name(d.split), "/", vegetable_names()[d.kind], "/", vegetable_file(d)), "", ""};
}

Files annotated_files(const Drawing& d, const char* ending) {
  const std::string stem = str(name(d.split), "_", padded(d.number)),
                    annotation = str("Annotations/", stem, ending);
  return {str("JPEGImages/", stem, ".jpg"), annotation, annotation};
}
Files voc_files(const Drawing& d) { return annotated_files(d, ".xml"); }
Files segmentation_files(const Drawing& d) { return annotated_files(d, ".png"); }

void draw_vegetable_file(const fs::path& folder, const Files& files, const Drawing& d,
                         const SyntheticOptions& o) {
  write_file(folder / files.image,
             encode_jpeg(draw_vegetable(d.kind, o.size, o.seed, index_of(d)), o.quality));
}

/// An annotation as PASCAL VOC has it.
std::string voc_xml(const std::string& file, const LabelledImage& sample) {
  std::string xml =
      str("<annotation>\n  <filename>", file, "</filename>\n  <size><width>", sample.image.width,
          "</width><height>", sample.image.height, "</height><depth>3</depth></size>\n");
  for (const ObjectBox& box : sample.boxes)
    xml += str("  <object><name>", insect_names()[box.label], "</name><difficult>0</difficult><bndbox><xmin>",
               box.x0, "</xmin><ymin>", box.y0, "</ymin><xmax>", box.x1, "</xmax><ymax>", box.y1,
               "</ymax></bndbox></object>\n");
  return xml + "</annotation>\n";
}

void draw_insect_files(const fs::path& folder, const Files& files, const Drawing& d,
                       const SyntheticOptions& o) {
  const LabelledImage sample = draw_insects(o.classes, o.size, o.seed, index_of(d));
  write_file(folder / files.image, encode_jpeg(sample.image, o.quality));
  write_file(folder / files.annotation, voc_xml(fs::path(files.image).filename().string(), sample));
}

void draw_fundus_files(const fs::path& folder, const Files& files, const Drawing& d,
                       const SyntheticOptions& o) {
  const LabelledImage sample = draw_fundus(o.size, o.seed, index_of(d));
  write_file(folder / files.image, encode_jpeg(sample.image, o.quality));
  const Mask& mask = sample.mask;
  write_index_png(folder / files.annotation,
                  {mask.width, mask.height, {mask.classes.begin(), mask.classes.end()}},
                  {{0, 0, 0}, {128, 0, 0}});
}

const std::vector<std::string>& fundus_labels() {
  static const std::vector<std::string> labels = {"background", "optic_disc"};
  return labels;
}

/// One layout: what is drawn in it, and how its files are named.
struct Layout {
  const char* name;
  int usual_classes;
  bool by_class;  ///< so many pictures of each class
  const std::vector<std::string>& (*labels)();
  Files (*files)(const Drawing&);
  void (*draw)(const fs::path&, const Files&, const Drawing&, const SyntheticOptions&);
};

constexpr Layout kLayouts[] = {
    {"image_list", 6, true, vegetable_names, image_list_files, draw_vegetable_file},
    {"image_folder", 6, true, vegetable_names, image_folder_files, draw_vegetable_file},
    {"voc", 6, false, insect_names, voc_files, draw_insect_files},
    {"segmentation_list", 2, false, fundus_labels, segmentation_files, draw_fundus_files},
};

const Layout& find_layout(const std::string& name) {
  std::vector<std::string> names;
  for (const Layout& layout : kLayouts) {
    if (layout.name == name) return layout;
    names.push_back(layout.name);
  }
  fail(str("data make: layout is '", name, "'", did_you_mean(name, names)));
}

/// With the layout's own number of classes for 0. Throws Error for what is out of range.
SyntheticOptions checked(SyntheticOptions o) {
  const auto within = [](const char* what, int value, int low, int high) {
    ESPALIER_CHECK(value >= low && value <= high, "data make: ", what, " is ", value, "; it must lie in ",
                   low, " .. ", high);
  };
  const Layout& layout = find_layout(o.layout);
  if (o.classes == 0) o.classes = layout.usual_classes;
  within("classes", o.classes, 2, static_cast<int>(layout.labels().size()));
  within("train", o.train, 1, 1'000'000);
  within("val", o.val, 1, 1'000'000);
  within("test", o.test, 0, 1'000'000);
  within("size", o.size, 16, 4096);
  within("quality", o.quality, 1, 100);
  return o;
}

std::vector<Drawing> plan(const SyntheticOptions& o) {
  std::vector<Drawing> drawings;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest})
    for (int kind = 0; kind < (find_layout(o.layout).by_class ? o.classes : 1); ++kind)
      for (int i = 0; i < (split == Split::kTrain ? o.train : split == Split::kVal ? o.val : o.test); ++i)
        drawings.push_back({split, kind, i});
  return drawings;
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

void make_folder(const fs::path& folder) {
  std::error_code code;
  fs::create_directories(folder, code);
  ESPALIER_CHECK(!code, folder.string(), ": the folder cannot be made (", code.message(), ")");
}

/// labels.txt and the lists, for layouts that have them.
void write_lists(const fs::path& folder, const SyntheticOptions& o, const Layout& layout,
                 const std::vector<Drawing>& drawings) {
  std::string labels;
  for (int kind = 0; kind < o.classes; ++kind) labels += layout.labels()[kind] + "\n";
  write_file(folder / "labels.txt", labels);
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    std::string list;
    for (const Drawing& d : drawings) {
      const Files files = layout.files(d);
      if (d.split == split) list += str(files.image, " ", files.second, "\n");
    }
    if (!list.empty()) write_file(folder / str(name(split), "_list.txt"), list);
  }
}

}  // namespace

bool must_draw(const fs::path& folder) {
  if (!fs::exists(folder)) return true;
  if (!fs::is_directory(folder)) return false;
  if (fs::is_empty(folder)) return true;
  if (!fs::exists(folder / kStamp)) return false;
  const Json stamp = parse_json(read_file(folder / kStamp));
  return stamp.is_object() && stamp.value("complete", Json()) == false;
}

int64_t picture_count(const SyntheticOptions& options) {
  const SyntheticOptions o = checked(options);
  return (int64_t{o.train} + o.val + o.test) * (find_layout(o.layout).by_class ? o.classes : 1);
}

int64_t training_picture_count(const SyntheticOptions& options) {
  const SyntheticOptions o = checked(options);
  return int64_t{o.train} * (find_layout(o.layout).by_class ? o.classes : 1);
}

std::vector<std::string> labels_of(const SyntheticOptions& options) {
  const SyntheticOptions o = checked(options);
  const std::vector<std::string>& all = find_layout(o.layout).labels();
  std::vector<std::string> labels(all.begin(), all.begin() + o.classes);
  if (o.layout == std::string("image_folder")) std::sort(labels.begin(), labels.end());
  return labels;
}

const std::vector<std::string>& drawn_labels(const std::string& layout) {
  return find_layout(layout).labels();
}

void make_pictures(const fs::path& folder, const SyntheticOptions& options) {
  const SyntheticOptions o = checked(options);
  const Layout& layout = find_layout(o.layout);
  if (already_drawn(folder, o)) return;
  make_folder(folder);
  write_atomically(folder / kStamp, stamp_of(o, false));
  const std::vector<Drawing> drawings = plan(o);
  for (const Drawing& d : drawings) {
    const Files files = layout.files(d);
    make_folder((folder / files.image).parent_path());
    if (!files.annotation.empty()) make_folder((folder / files.annotation).parent_path());
  }
  tbb::parallel_for(size_t{0}, drawings.size(), [&](size_t i) {
    if (interrupt_requested())
      throw Interrupted("interrupted while drawing; the same command again starts anew");
    layout.draw(folder, layout.files(drawings[i]), drawings[i], o);
  });
  if (!layout.files(drawings[0]).second.empty()) write_lists(folder, o, layout, drawings);
  // One flush for all files, before the stamp vouches for them.
  if (const int d = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); d >= 0) {
    ::syncfs(d);
    ::close(d);
  }
  write_atomically(folder / kStamp, stamp_of(o, true));
}

}  // namespace espalier
