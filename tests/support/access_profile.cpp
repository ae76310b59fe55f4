#include "support/access_profile.h"

#include <dlfcn.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace espalier::test {

namespace {

constexpr int kBanks = 32, kWord = 4, kSector = 32;

/// "file:line" of a return address: of the innermost call that is not one of warp.h's words.
std::string line_of(const void* code) {
  std::string first;
  const std::string place = place_in_program(code);
  FILE* pipe = place.empty() ? nullptr : popen(("addr2line -ie " + place).c_str(), "r");
  if (!pipe) return fmt::format("{}", code);
  std::array<char, 512> text{};
  for (bool found = false; fgets(text.data(), text.size(), pipe);) {
    if (found) continue;  // reads what is left, or addr2line would be cut off
    std::string line = text.data();
    line = line.substr(0, line.find_first_of(" \n"));
    found = line.find("/warp.h:") == std::string::npos && line.find("/warpgroup.h:") == std::string::npos;
    if (first.empty() || found) first = line;
  }
  pclose(pipe);
  return first.empty() ? fmt::format("{}", code) : first;
}

}  // namespace

std::string place_in_program(const void* code) {
  Dl_info place;
  if (!code || !dladdr(code, &place)) return "";
  return fmt::format("{} {:#x}", place.dli_fname,
                     static_cast<const char*>(code) - static_cast<const char*>(place.dli_fbase) - 1);
}

AccessProfile::Counts& AccessProfile::Counts::operator+=(const Counts& other) {
  requests += other.requests;
  passes += other.passes;
  least += other.least;
  return *this;
}

void AccessProfile::access(int thread, const void* at, int64_t bytes, const void* shared, const void* code) {
  Place& place = open_[{thread / kLanes, code}];
  const int lane = thread % kLanes;
  const auto number = static_cast<size_t>(place.made[lane]++);
  if (place.requests.size() <= number) place.requests.resize(number + 1);
  Request& r = place.requests[number];
  r.bytes = bytes;
  r.shared = shared != nullptr;
  r.lanes |= 1u << lane;
  r.at[lane] = static_cast<uint64_t>(static_cast<const char*>(at) - static_cast<const char*>(shared));
}

void AccessProfile::end_of_requests() {
  for (auto& [key, place] : open_) {
    for (const Request& r : place.requests) places_[{key.second, r.shared}] += counts_of(r);
    place.requests.clear();
    std::fill(std::begin(place.made), std::end(place.made), 0);
  }
}

namespace {

/// How many different ones.
int64_t count_different(std::vector<uint64_t>& values) {
  std::sort(values.begin(), values.end());
  return std::unique(values.begin(), values.end()) - values.begin();
}

}  // namespace

AccessProfile::Counts AccessProfile::counts_of(const Request& r) {
  Counts counts{.requests = 1};
  const auto bytes = static_cast<uint64_t>(r.bytes);
  // To shared memory a quarter of the lanes go together with 16 bytes, half of them with 8.
  const int together = !r.shared || bytes <= 4 ? kLanes : bytes <= 8 ? kLanes / 2 : kLanes / 4;
  for (int first = 0; first < kLanes; first += together) {
    std::vector<uint64_t> units, sectors, banks[kBanks];
    const uint64_t unit = r.shared ? kWord : 1;
    for (int lane = first; lane < first + together; ++lane)
      if (r.lanes >> lane & 1)
        for (uint64_t at = r.at[lane] / unit; at <= (r.at[lane] + bytes - 1) / unit; ++at) {
          units.push_back(at);
          if (r.shared)
            banks[at % kBanks].push_back(at);
          else
            sectors.push_back(at / kSector);
        }
    const int64_t at_once = r.shared ? kBanks : kSector;
    counts.least += (count_different(units) + at_once - 1) / at_once;
    int64_t most = count_different(sectors);
    for (auto& words : banks) most = std::max(most, count_different(words));
    counts.passes += most;
  }
  return counts;
}

AccessProfile::Totals AccessProfile::totals() const {
  Totals all;
  for (const auto& [key, counts] : places_) (key.second ? all.shared : all.global) += counts;
  return all;
}

std::string AccessProfile::report() const {
  std::map<std::pair<std::string, bool>, Counts> lines;
  for (const auto& [key, counts] : places_) lines[{line_of(key.first), key.second}] += counts;
  std::vector<std::pair<std::pair<std::string, bool>, Counts>> sorted(lines.begin(), lines.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.second.passes - a.second.least > b.second.passes - b.second.least;
  });
  std::string text;
  for (const auto& [key, c] : sorted)
    if (c.passes > c.least)
      text += fmt::format("{}: {} requests to {}, {:.2f} times the {}\n", key.first, c.requests,
                          key.second ? "shared memory" : "global memory", c.ratio(),
                          key.second ? "passes" : "sectors");
  return text;
}

}  // namespace espalier::test
