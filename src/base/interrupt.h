#pragma once
// Ctrl-C as a flag that long work looks at between steps: it saves what it has and throws Interrupted.

#include <stdexcept>

namespace espalier {

/// Thrown by long work after it has saved what it has. The command line turns it into exit status 130.
class Interrupted : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// From now on the first SIGINT, SIGTERM or SIGHUP (unless it is ignored) only sets the flag; the second one
/// ends the program at once. A limit on the size of files makes writing fail instead of ending it.
void watch_for_interrupts();
bool interrupt_requested();
/// Sets or clears the flag, as the signal does.
void request_interrupt(bool on = true);

}  // namespace espalier
