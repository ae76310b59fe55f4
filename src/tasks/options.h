#pragma once
// How a task reads its options: strictly, since they come from recipes and from model files alike.

#include <string>
#include <vector>

#include "base/json.h"

namespace espalier {

/// The options of one task. Every function throws Error "TASK: KEY is VALUE; ..." for a value of a wrong type
/// or out of range, and returns the fallback for a key that is absent or null.
class TaskOptions {
 public:
  /// Throws Error for a key that is not in `known`, with the nearest one that is.
  TaskOptions(std::string task, const Json& given, const std::vector<std::string>& known);

  double number(const char* key, double fallback, double low, double high) const;  ///< low .. high
  int integer(const char* key, int fallback, int low, int high) const;             ///< low .. high
  bool boolean(const char* key, bool fallback) const;
  std::string choice(const char* key, const char* fallback, const std::vector<std::string>& choices) const;
  double smoothing(const char* key) const;  ///< in [0, 1), 0 by default
  /// One weight a class, not all of them 0; empty when absent.
  std::vector<float> class_weights(const char* key, int classes) const;
  /// Lists of numbers, `width` in each; `fallback` when absent.
  std::vector<std::vector<float>> rows(const char* key, size_t width,
                                       std::vector<std::vector<float>> fallback) const;
  /// The value itself, nullptr when it is absent or null.
  const Json* find(const char* key) const;
  /// Throws Error "TASK: KEY is VALUE; <expected>".
  [[noreturn]] void reject(const char* key, const std::string& expected) const;

 private:
  std::string task_;
  const Json& given_;
};

}  // namespace espalier
