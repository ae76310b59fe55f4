#include "tasks/task.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/nearest.h"
#include "tasks/task_table.h"

namespace espalier {

std::unique_ptr<Task> make_task(const std::string& name, int classes, const Json& options) {
  ESPALIER_CHECK(options.is_null() || options.is_object(), "task ", name, ": options are ", options.dump(),
                 "; an object is needed");
  ESPALIER_CHECK(classes >= 1, name, ": classes is ", classes, "; it must be at least 1");
  const Json given = options.is_null() ? Json::object() : options;
  if (name == "classification") return make_classification(classes, given);
  if (name == "detection") return make_detection(classes, given);
  if (name == "segmentation") return make_segmentation(classes, given);
  fail(str("task '", name, "' is unknown",
           did_you_mean(name, {"classification", "detection", "segmentation"})));
}

void check_finite_output(bool finite, const std::string& name) {
  ESPALIER_CHECK(finite, name,
                 ": the network's output has a value that is not finite; its weights or running statistics "
                 "are damaged, or training diverged");
}

void check_picture(const Annotation& picture, const std::string& name) {
  ESPALIER_CHECK(picture.width > 0 && picture.height > 0, name, ": is ", picture.width, "x", picture.height,
                 " pixels; a picture has some");
}

std::string image_name(const Batch& batch, int i) {
  return i < static_cast<int>(batch.names.size()) ? batch.names[i] : str("image ", i, " of the batch");
}

Json number_or_null(double value) { return std::isnan(value) ? Json(nullptr) : Json(value); }

std::string label_name(const std::vector<std::string>& labels, int label) {
  return label >= 0 && label < static_cast<int>(labels.size()) ? labels[label] : std::to_string(label);
}

}  // namespace espalier
