#include "kernels/autotuner.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/log.h"

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
      warn(str("kernel '", candidate->name, "' gives other numbers than '", general->name, "' for problem",
               text_of(problem), " and is not used there; please report it"));
      continue;
    }
    const std::lock_guard lock(mutex_);
    answers_[problem] = {candidate->name, likeness == Likeness::kAlike};
    return save();
  }
}

bool Autotuner::run(const Problem& problem, std::span<const Candidate> candidates) const {
  std::string name;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = answers_.find(problem); found != answers_.end()) {
      found->second.taken = true;
      name = found->second.name;
    }
  }
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

std::optional<Autotuner::Names> Autotuner::parse(std::istream& in) const {
  std::string first;
  if (!std::getline(in, first) || first != header(made_for_)) return {};
  Names names;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string name;
    Problem problem;
    if (!(fields >> name)) continue;
    for (int number; fields >> number;) problem.push_back(number);
    if (fields.eof() && !problem.empty()) names[problem] = name;
  }
  return names;
}

void Autotuner::print(std::ostream& out, const Names& names) const {
  out << header(made_for_) << '\n';
  for (const auto& [problem, name] : names) out << name << text_of(problem) << '\n';
}

std::string Autotuner::taken() const {
  Names names;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [problem, answer] : answers_)
      if (answer.taken) names[problem] = answer.name;
  }
  if (names.empty()) return {};
  std::ostringstream text;
  print(text, names);
  return text.str();
}

bool Autotuner::take_over(const std::string& taken) {
  std::istringstream text(taken);
  const std::optional<Names> names = parse(text);
  if (!names) return false;
  const std::lock_guard lock(mutex_);
  for (const auto& [problem, name] : *names) answers_[problem] = {name, false};
  return true;
}

void Autotuner::read() {
  std::error_code missing;
  const auto written = std::filesystem::last_write_time(path_, missing);
  if (missing || written == seen_) return;
  seen_ = written;
  std::ifstream in(path_);
  saved_ = parse(in).value_or(Names());
}

bool Autotuner::write() const {
  // A reader never sees half a file, nor what two programs wrote into one.
  const std::string unfinished = path_ + '.' + std::to_string(getpid()) + ".part";
  std::ofstream out(unfinished, std::ios::trunc);
  print(out, saved_);
  out.close();  // a full disk shows here
  if (out && std::rename(unfinished.c_str(), path_.c_str()) == 0) return true;
  std::remove(unfinished.c_str());
  return false;
}

void Autotuner::save() {
  if (path_.empty()) return;
  read();  // another program may have added to it
  for (const auto& [problem, answer] : answers_)
    if (answer.lasts) saved_[problem] = answer.name;
  if (write()) {
    std::error_code gone;
    seen_ = std::filesystem::last_write_time(path_, gone);
  } else if (!std::exchange(said_, true)) {
    warn(str(
        path_,
        ": cannot be written, so that the next run times the kernels anew and its last digits may differ; "
        "ESPALIER_TUNING names another file"));
  }
}

}  // namespace espalier::kernels
