#include "base/error.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

std::string message_of(void (*f)()) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Error, QuotesTheInnermostPlace) {
  const auto thrower = [] { ESPALIER_CHECK(1 + 1 == 3, "conv2d: x has ", 24, " channels"); };
  EXPECT_EQ(message_of(thrower), "conv2d: x has 24 channels");
  const std::string outer = "block3", inner = "block3/expand";
  const Running a(outer);
  {
    const Running b(inner);
    EXPECT_EQ(message_of(thrower), "in block3/expand: conv2d: x has 24 channels");
  }
  EXPECT_EQ(message_of(thrower), "in block3: conv2d: x has 24 channels");
}

TEST(Error, PlaceIsPutBackWhenAnExceptionLeaves) {
  const std::string place = "stem";
  try {
    const Running here(place);
    fail("gone");
  } catch (const Error&) {
  }
  EXPECT_EQ(running_place(), "");
}

TEST(Error, CheckEvaluatesItsMessageOnlyOnFailure) {
  int evaluated = 0;
  const auto count = [&] { return ++evaluated; };
  ESPALIER_CHECK(true, count());
  EXPECT_EQ(evaluated, 0);
}

}  // namespace
}  // namespace espalier
