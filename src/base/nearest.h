#pragma once

#include <string>
#include <vector>

namespace espalier {

/// The candidate with the least edit distance (Levenshtein, 1966; a swap of neighbours counts once) to
/// `word`, empty if all of them differ in more than half of the letters.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

/// "; did you mean 'batch'?" or, when nothing is near, "; known are a, b, c".
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace espalier
