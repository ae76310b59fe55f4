#pragma once
// What an error says.

#include <gtest/gtest.h>

#include <exception>
#include <string>

namespace espalier::test {

/// The message of what f throws, empty when it does not.
template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline void expect_says(const std::string& message, const std::string& part) {
  EXPECT_TRUE(contains(message, part)) << "'" << message << "' does not say '" << part << "'";
}

}  // namespace espalier::test
