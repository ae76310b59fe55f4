#include "kernels/team.h"

namespace espalier::kernels {

namespace {

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void Relay::reset(int threads) {
  if (threads > room_) {
    slots_ = std::make_unique<Slot[]>(static_cast<size_t>(threads));
    room_ = threads;
  }
  threads_ = threads;
  for (int i = 0; i < threads; ++i) slots_[i].claimed.store(0, std::memory_order_relaxed);
  ended_.store(0, std::memory_order_relaxed);
  step_.store(0, std::memory_order_relaxed);
}

bool Relay::claim(int share, int step) {
  std::atomic<int>& claimed = slots_[share].claimed;
  int expected = step;
  return claimed.load(std::memory_order_relaxed) == step &&
         claimed.compare_exchange_strong(expected, step + 1, std::memory_order_relaxed);
}

bool Relay::last_of(int step) {
  return ended_.fetch_add(1, std::memory_order_acq_rel) + 1 == (step + 1) * threads_;
}

void Relay::release(int step) {
  step_.store(step + 1, std::memory_order_release);
  step_.notify_all();
}

int Relay::next(int step) {
  constexpr int kSpins = 4000;  // some 50 us: a thread that is away longer has lost its core to someone else
  for (int spins = 0; spins < kSpins; ++spins) {
    const int now = step_.load(std::memory_order_acquire);
    if (now != step) return now;
    pause_briefly();
  }
  step_.wait(step, std::memory_order_acquire);
  return step_.load(std::memory_order_acquire);
}

}  // namespace espalier::kernels
