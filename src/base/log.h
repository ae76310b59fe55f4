#pragma once
// Log lines through spdlog, to standard error. What a program of one's own may get to see goes by warn(): its
// spdlog would write to standard output.

#include <string>

namespace espalier {

/// All log lines go to standard error as "level: text" (plain text for info), a progress bar moves out of
/// their way. The level is $ESPALIER_LOG: trace, debug, info (default), warning, error, off. Throws Error for
/// another word.
void init_logging();

/// A warning of espalier's own logger, whatever the program does with spdlog. The level is $ESPALIER_LOG.
void warn(const std::string& text);

/// "info" and so on, as ESPALIER_LOG has it. Throws Error for an unknown one.
void set_log_level(const std::string& level);

}  // namespace espalier
