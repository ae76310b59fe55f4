#pragma once
// Which of several kernels is the fastest for a problem: timed once, then remembered in a file. All
// candidates compute the same numbers up to the order of their sums, so the choice changes last bits; with
// the file in place a program repeats them.

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/sketch.h"

namespace espalier::kernels {

/// One way to compute a problem.
struct Candidate {
  const char* name;
  std::function<bool()> run;  ///< false, having done nothing, where it has no code for the problem
  bool general = false;       ///< the plain loop, whose results the others' are held to
};

/// While one lives on this thread, no problem is timed: what was not timed before takes the usual kernel. For
/// work that meets a problem a few times only, as a sweep over many widths does.
class Untimed {
 public:
  Untimed();
  ~Untimed();
  Untimed(const Untimed&) = delete;
  static bool on();

 private:
  bool outer_;
};

class Autotuner {
 public:
  /// What a problem is: operation, precision, extents.
  using Problem = std::vector<int>;
  /// Milliseconds that a candidate takes, negative where it does not take the problem.
  using Timer = std::function<float(const Candidate&)>;
  /// Whether the second's results are those of the first, the general one, up to rounding.
  using Judge = std::function<Likeness(const Candidate&, const Candidate&)>;

  /// Remembers answers in `path`, and for this process alone where it is empty. `made_for` names all that
  /// answers depend on beside the problem: the GPU, and the kernels' versions. A file that was made for
  /// something else, or cannot be read, is as good as none, and so is one that cannot be written, which is
  /// said once; lines that are not of its form are passed over. What other programs add to the file meanwhile
  /// stays in it.
  Autotuner(std::string path, std::string made_for, Timer timer)
      : path_(std::move(path)), made_for_(std::move(made_for)), timer_(std::move(timer)) {
    read();
    for (const auto& [problem, name] : saved_) answers_[problem] = {name};
  }

  /// Whether there is no answer yet, and timing is wanted.
  bool asks_for(const Problem& problem) const { return !Untimed::on() && answer(problem).empty(); }

  /// Times all candidates and remembers the fastest whose results are right, where one of them is general; a
  /// faster one is named in a warning. One whose results tell nothing is remembered for this process alone,
  /// so that the next asks again. They overwrite the output.
  void tune(const Problem& problem, std::span<const Candidate> candidates, const Judge& same_results);

  /// Runs the candidate that the answer names; without an answer the first that takes the problem. False if
  /// none does.
  bool run(const Problem& problem, std::span<const Candidate> candidates) const;

  /// The answer, empty if there is none yet.
  std::string answer(const Problem& problem) const;

  /// The answers that run() went by so far, in the form of the file; empty if there are none.
  std::string taken() const;
  /// Answers by what another process has taken, in this process: neither timed again nor saved. Where that
  /// was made for something else nothing happens, and false comes back.
  bool take_over(const std::string& taken);

 private:
  using Names = std::map<Problem, std::string>;
  std::optional<Names> parse(std::istream& in) const;  ///< nothing of what was made for something else
  void print(std::ostream& out, const Names& names) const;
  void read();  ///< what is saved, if that is not known
  bool write() const;
  void save();

  struct Answer {
    std::string name;
    bool lasts = true;  ///< is saved
    bool taken = false;
  };
  std::string path_, made_for_;
  Timer timer_;
  mutable std::mutex mutex_;
  mutable std::map<Problem, Answer> answers_;
  Names saved_;                                ///< what the file holds,
  std::filesystem::file_time_type seen_ = {};  ///< and since when
  bool said_ = false;                          ///< that it cannot be written
};

}  // namespace espalier::kernels
