#include "emulated_cuda/settings.h"

#include <spdlog/fmt/fmt.h>

#include <cstdlib>
#include <initializer_list>
#include <utility>

namespace espalier::emulated_cuda {

namespace {

/// The value that the environment names; the first one without.
template <class Value>
Value chosen(const char* variable, std::initializer_list<std::pair<const char*, Value>> choices) {
  const char* wanted = std::getenv(variable);
  if (!wanted || !*wanted) return choices.begin()->second;
  std::string names;
  for (const auto& [name, value] : choices) {
    if (std::string(name) == wanted) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  fmt::print(stderr, "emulated CUDA: {} is '{}'; it may be {}\n", variable, wanted, names);
  std::exit(2);
}

uint64_t number(const char* variable, uint64_t otherwise) {
  const char* wanted = std::getenv(variable);
  return wanted && *wanted ? std::strtoull(wanted, nullptr, 10) : otherwise;
}

}  // namespace

const Settings& settings() {
  static const Settings one = {
      .card = chosen<Card>("ESPALIER_EMULATED_CARD", {{"hopper", {"emulated Hopper", 9, 0, 227 * 1024}},
                                                      {"ampere", {"emulated Ampere", 8, 0, 163 * 1024}},
                                                      {"consumer", {"emulated consumer", 8, 6, 99 * 1024}}}),
      .schedule = chosen<test::Schedule>(
          "ESPALIER_EMULATED_THREADS",
          {{"forward", test::Schedule::kForwardLate}, {"backward", test::Schedule::kBackwardEarly}}),
      .order =
          chosen<Order>("ESPALIER_EMULATED_STREAM",
                        {{"late", Order::kLate}, {"early", Order::kEarly}, {"crossed", Order::kCrossed}}),
      .memory = number("ESPALIER_EMULATED_MEMORY", 8192) << 20,
      .seed = number("ESPALIER_EMULATED_SEED", 1)};
  return one;
}

}  // namespace espalier::emulated_cuda
