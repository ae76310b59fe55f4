#pragma once
// Errors the caller can fix: one exception type, one message form (architecture.md, section 7).

#include <sstream>
#include <stdexcept>
#include <string>

namespace espalier {

/// What a caller can fix. The message says what is, what was expected, and what to do.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A device has no memory left for what was asked.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// The arguments streamed one after another: str("block", 3) is "block3".
template <class... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

/// Throws Error with "in PLACE: " in front when a Running place is active on this thread.
[[noreturn]] void fail(const std::string& message);

/// Names the place that is being built or run, for messages: "in block3/expand: conv2d: ...".
/// Places nest; the innermost one is quoted.
class Running {
 public:
  explicit Running(std::string place);
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  std::string place_;
  const std::string* outer_;
};

/// The innermost active place, empty if none.
std::string running_place();

}  // namespace espalier

/// Throws espalier::Error with the streamed message unless the condition holds.
#define ESPALIER_CHECK(condition, ...)                \
  do {                                                \
    if (!(condition)) [[unlikely]]                    \
      ::espalier::fail(::espalier::str(__VA_ARGS__)); \
  } while (false)
