#include "compress/crew.h"

#include <cassert>
#include <utility>

#include "kernels/device.h"

namespace espalier {

Crew::Crew(int threads) : free_(threads) { assert(threads >= 1); }

Crew::~Crew() {
  failed_ = true;  // who leaves before wait() has failed
  join();
}

int Crew::free() const {
  const std::lock_guard lock(mutex_);
  return free_;
}

void Crew::start(int threads, std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  assert(threads >= 1 && threads <= free_);
  threads_.emplace_back([this, threads, job = std::move(job)]() mutable {
    std::exception_ptr error;
    try {
      kernels::set_threads(threads);
      job();
    } catch (...) {
      error = std::current_exception();
      failed_ = true;
    }
    job = nullptr;  // what it captured is free before anybody is told
    const std::lock_guard ending(mutex_);
    if (error && !error_) error_ = error;
    free_ += threads;
    --running_;
    ended_.notify_all();
  });
  free_ -= threads;
  ++running_;
}

void Crew::wait_until(const std::function<bool(int free)>& ready) {
  {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return error_ || running_ == 0 || ready(free_); });
    if (!error_) return;
  }
  join();
  std::rethrow_exception(std::exchange(error_, nullptr));
}

void Crew::wait() {
  wait_until([](int) { return false; });
  join();
}

void Crew::join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  failed_ = false;
}

}  // namespace espalier
