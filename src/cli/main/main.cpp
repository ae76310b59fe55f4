#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "cli/cli.h"

namespace {

/// OpenMP's waiting threads spin unless told otherwise, and the library reads that from the environment
/// before main(). On a machine with other work spinning costs a factor of ten and more: every barrier waits
/// for a thread that is not scheduled while others burn its time. So threads sleep, unless the user has
/// decided.
void let_waiting_threads_sleep(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::execv("/proc/self/exe",
          argv);  // returns only when it fails: then the threads spin, and all else is the same
}

/// The next file that is opened would get the number of a standard stream that is closed, and what is printed
/// or logged would go into it. Writing to these fails instead.
void open_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0) ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  let_waiting_threads_sleep(argv);
  return espalier::run_command_line({argv + 1, argv + argc}, std::cout, std::cerr);
}
