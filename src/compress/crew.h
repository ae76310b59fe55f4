#pragma once
// Jobs beside one another on the CPU, each with threads of its own for its kernels: the maps of one small
// batch do not keep every core busy, and kernels wait for each other's slowest share.

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace espalier {

/// For one caller, who starts the jobs and waits for them.
class Crew {
 public:
  /// `threads` >= 1 are shared by all jobs that run at the same time.
  explicit Crew(int threads);
  ~Crew();  ///< waits for the jobs, which see failed()
  Crew(const Crew&) = delete;

  int free() const;  ///< threads that no running job has
  /// True once a job has thrown, or the crew's owner has: the jobs had better end.
  bool failed() const { return failed_; }

  /// Runs the job on a thread of its own, its kernels on `threads` threads, at most as many as are free.
  void start(int threads, std::function<void()> job);
  /// Returns when ready(free threads) holds or no job runs. It is asked now and whenever a job has ended and
  /// what that captured is gone. Throws what the first failed job has thrown, after all have ended.
  void wait_until(const std::function<bool(int free)>& ready);
  /// Until no job runs.
  void wait();

 private:
  void join();

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<std::thread> threads_;  ///< of jobs that run or have ended since the last wait()
  int free_, running_ = 0;
  std::exception_ptr error_;
  std::atomic<bool> failed_{false};
};

}  // namespace espalier
