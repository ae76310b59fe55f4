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

spdlog::level::level_enum level_of(const std::string& word) {
  static const std::vector<std::string> known = {"trace", "debug", "info", "warning", "error", "off"};
  for (const std::string& name : known)
    if (name == word) return spdlog::level::from_str(word);
  fail(str("log level '", word, "' is unknown", did_you_mean(word, known)));
}

spdlog::level::level_enum level_of_environment() {
  const char* level = std::getenv("ESPALIER_LOG");
  return level_of(level && *level ? level : "info");
}

const std::shared_ptr<spdlog::logger>& own_logger() {
  static const auto logger = [] {
    auto made = std::make_shared<spdlog::logger>("espalier", std::make_shared<TerminalSink>());
    made->set_level(level_of_environment());
    return made;
  }();
  return logger;
}

}  // namespace

void set_log_level(const std::string& level) {
  own_logger()->set_level(level_of(level));
  spdlog::set_level(level_of(level));
}

void init_logging() {
  spdlog::set_default_logger(own_logger());
  spdlog::set_level(level_of_environment());
}

void warn(const std::string& text) { own_logger()->warn(text); }

}  // namespace espalier
