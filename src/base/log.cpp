#include "base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"
#include "base/terminal.h"

namespace espalier {

namespace {

/// "text" for info, "warning: text" for the others.
class TerminalSink final : public spdlog::sinks::base_sink<std::mutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::string line(message.payload.data(), message.payload.size());
    if (message.level != spdlog::level::info) {
      const auto level = spdlog::level::to_string_view(message.level);
      line = std::string(level.data(), level.size()) + ": " + line;
    }
    terminal::write_line(line);
  }
  void flush_() override {}
};

}  // namespace

void set_log_level(const std::string& level) {
  static const std::vector<std::string> known = {"trace", "debug", "info", "warning", "error", "off"};
  for (const std::string& word : known)
    if (word == level) return spdlog::set_level(spdlog::level::from_str(level));
  fail(str("log level '", level, "' is unknown", did_you_mean(level, known)));
}

void init_logging() {
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("espalier", std::make_shared<TerminalSink>()));
  const char* level = std::getenv("ESPALIER_LOG");
  set_log_level(level && *level ? level : "info");
}

}  // namespace espalier
