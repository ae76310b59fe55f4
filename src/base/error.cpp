#include "base/error.h"

namespace espalier {

namespace {
thread_local const std::string* place = nullptr;
}

void fail(const std::string& message) { throw Error(place ? "in " + *place + ": " + message : message); }

Running::Running(const std::string& name) : outer_(place) { place = &name; }
std::string running_place() { return place ? *place : std::string(); }
Running::~Running() { place = outer_; }

}  // namespace espalier
