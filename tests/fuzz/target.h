#pragma once
// A reader of files that somebody else wrote, as main.cpp and libFuzzer call it.

#include <string>
#include <vector>

namespace espalier::test {

/// Small valid inputs to start from.
std::vector<std::string> seeds();
/// Reads the input. Error is the right answer to a bad one; whatever else leaves it is a defect.
void read(const std::string& input);

}  // namespace espalier::test
