// Annotations of a data set: the first line names the format, the rest is the file, for two pictures.

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "datasets/check.h"
#include "fuzz/target.h"
#include "io/image.h"
#include "support/temporary_directory.h"

namespace espalier::test {

namespace {

const std::filesystem::path& root() {
  static const TemporaryDirectory folder;
  static const bool made = [] {
    Image grey = Image::unset(8, 6);
    std::fill(grey.pixels.begin(), grey.pixels.end(), uint8_t{90});
    for (const char* name : {"a.jpg", "b.jpg"}) write_jpeg(folder.path() / name, grey);
    return true;
  }();
  static_cast<void>(made);
  return folder.path();
}

}  // namespace

std::vector<std::string> seeds() {
  return {
      "image_list\na.jpg 0\nb.jpg 1\n", "labels\nleek\ncarrot\n",
      "voc\n<annotation><filename>a.jpg</filename><size><width>8</width><height>6</height></size><object>"
      "<name>leek</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5.5</xmax><ymax>4</"
      "ymax>"
      "</bndbox></object></annotation>\n",
      "coco\n"
      R"({"images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 6}, {"id": 2, "file_name": "b.jpg"}],)"
      R"("annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 4.5, 3], "iscrowd": 0}],)"
      R"("categories": [{"id": 3, "name": "leek"}]})"};
}

void read(const std::string& input) {
  const size_t end = input.find('\n');
  if (end == std::string::npos) return;
  const std::string format = input.substr(0, end), text = input.substr(end + 1);
  const auto write = [&](const char* name, const std::string& content) { put(root() / name, content); };
  write("labels.txt", format == "labels" ? text : "leek\ncarrot\n");
  write("a.xml", text);
  write("train.json", text);
  write("train_list.txt", format == "image_list" ? text
                          : format == "voc"      ? "a.jpg a.xml\n"
                                                 : "a.jpg 0\nb.jpg 1\n");
  try {
    describe(check_dataset({.format = format == "labels" ? "image_list" : format, .root = root()}));
  } catch (const Error&) {
  }
}

}  // namespace espalier::test
