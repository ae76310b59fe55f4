#include "kernels/autotuner.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <utility>

namespace espalier::kernels {

namespace {
thread_local bool untimed = false;

std::string text_of(const Autotuner::Problem& problem) {
  std::string text;
  for (const int number : problem) text += ' ' + std::to_string(number);
  return text;
}
std::string header(const std::string& made_for) { return "# fastest kernels of " + made_for; }
}  // namespace

Untimed::Untimed() : outer_(untimed) { untimed = true; }
Untimed::~Untimed() { untimed = outer_; }
bool Untimed::on() { return untimed; }

void Autotuner::tune(const Problem& problem, std::span<const Candidate> candidates,
                     const Judge& same_results) {
  std::vector<std::pair<float, const Candidate*>> taking;
  const Candidate* general = nullptr;
  for (const Candidate& candidate : candidates) {
    const float milliseconds = timer_(candidate);
    if (milliseconds < 0) continue;
    taking.emplace_back(milliseconds, &candidate);
    if (candidate.general) general = &candidate;
  }
  std::stable_sort(taking.begin(), taking.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [milliseconds, candidate] : taking) {
    const Likeness likeness =
        general && candidate != general ? same_results(*general, *candidate) : Likeness::kAlike;
    if (likeness == Likeness::kDifferent) {
      spdlog::warn(
          "kernel '{}' gives other numbers than '{}' for problem{} and is not used there; please report it",
          candidate->name, general->name, text_of(problem));
      continue;
    }
    const std::lock_guard lock(mutex_);
    answers_[problem] = {candidate->name, likeness == Likeness::kAlike};
    return save();
  }
}

bool Autotuner::run(const Problem& problem, std::span<const Candidate> candidates) const {
  const std::string name = answer(problem);
  for (const Candidate& candidate : candidates)
    if (name == candidate.name && candidate.run()) return true;
  // No answer, or one from a build that had other candidates.
  for (const Candidate& candidate : candidates)
    if (candidate.run()) return true;
  return false;
}

std::string Autotuner::answer(const Problem& problem) const {
  const std::lock_guard lock(mutex_);
  const auto found = answers_.find(problem);
  return found == answers_.end() ? std::string() : found->second.name;
}

void Autotuner::load() {
  std::ifstream in(path_);
  std::string first;
  if (!std::getline(in, first) || first != header(made_for_)) return;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string name, rest;
    Problem problem;
    if (!(fields >> name)) continue;
    for (int number; fields >> number;) problem.push_back(number);
    if (fields.eof() && !problem.empty()) answers_[problem] = {name};
  }
}

void Autotuner::save() const {
  if (path_.empty()) return;
  // A reader never sees half a file.
  const std::string unfinished = path_ + ".part";
  {
    std::ofstream out(unfinished, std::ios::trunc);
    out << header(made_for_) << '\n';
    for (const auto& [problem, answer] : answers_)
      if (answer.lasts) out << answer.name << text_of(problem) << '\n';
    if (!out) return;
  }
  std::rename(unfinished.c_str(), path_.c_str());
}

}  // namespace espalier::kernels
