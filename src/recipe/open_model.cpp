#include "recipe/open_model.h"

#include "base/error.h"
#include "datasets/transforms.h"
#include "tasks/task.h"

namespace espalier {

Model open_model(const std::filesystem::path& path) {
  Model model = load_model(path);
  try {
    make_task(model.task, static_cast<int>(model.labels.size()), model.task_options);
    ESPALIER_CHECK(!Pipeline(model.preprocessing, "preprocessing").random(),
                   "its preprocessing is random, which is for training alone");
  } catch (const Error& e) {
    fail(str(path.string(), ": ", e.what()));
  }
  return model;
}

}  // namespace espalier
