#include "tasks/task.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/nearest.h"
#include "tasks/task_table.h"

namespace espalier {

std::unique_ptr<Task> make_task(const std::string& name, int classes, const Json& options) {
  ESPALIER_CHECK(options.is_null() || options.is_object(), "task ", name, ": options are ", options.dump(),
                 "; an object is needed");
  if (name == "classification")
    return make_classification(classes, options.is_null() ? Json::object() : options);
  fail(str("task '", name, "' is unknown", did_you_mean(name, {"classification"})));
}

}  // namespace espalier
