#include "base/error.h"

#include <utility>

namespace espalier {

namespace {
thread_local const std::string* place = nullptr;
}

void fail(const std::string& message) { throw Error(place ? "in " + *place + ": " + message : message); }

Running::Running(std::string name) : place_(std::move(name)), outer_(place) { place = &place_; }
std::string running_place() { return place ? *place : std::string(); }
Running::~Running() { place = outer_; }

}  // namespace espalier
