#include "base/interrupt.h"

#include <csignal>

#include <atomic>

namespace espalier {

namespace {

std::atomic<bool> requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_signal(int signal) {
  if (requested.exchange(true)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

}  // namespace

void watch_for_interrupts() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  // A terminal that closes; who started the program by nohup wants it to go on.
  if (std::signal(SIGHUP, on_signal) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a write past the limit then fails, and says so
}

bool interrupt_requested() { return requested; }

void request_interrupt(bool on) { requested = on; }

}  // namespace espalier
