// Signals that end other programs let this one save what it has.

#include "base/interrupt.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "support/temporary_directory.h"

namespace espalier {
namespace {

struct InterruptTest : testing::Test {
  void TearDown() override {
    request_interrupt(false);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGXFSZ}) std::signal(signal, SIG_DFL);
  }
};

TEST_F(InterruptTest, AClosedTerminalIsARequest) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    watch_for_interrupts();
    std::raise(signal);
    EXPECT_TRUE(interrupt_requested()) << signal;
    request_interrupt(false);
  }
}

TEST_F(InterruptTest, ASignalThatIsIgnoredStaysSo) {
  std::signal(SIGHUP, SIG_IGN);  // as nohup does
  watch_for_interrupts();
  std::raise(SIGHUP);
  EXPECT_FALSE(interrupt_requested());
}

TEST_F(InterruptTest, ALimitOfFilesIsAnErrorOfWriting) {
  watch_for_interrupts();
  const test::TemporaryDirectory directory;
  std::FILE* file = std::fopen((directory.path() / "file").c_str(), "w");
  ASSERT_NE(file, nullptr);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit none{0, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &none);
  const ssize_t written = ::write(fileno(file), "x", 1);
  setrlimit(RLIMIT_FSIZE, &before);
  std::fclose(file);
  EXPECT_EQ(written, -1);
}

}  // namespace
}  // namespace espalier
