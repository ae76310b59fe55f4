#pragma once
// Log lines through spdlog. The library logs and never prints; a program that wants to see it calls
// init_logging().

#include <string>

namespace espalier {

/// Log lines go to standard error as "[level] text" (plain text for info), a progress bar moves out of their
/// way. The level is $ESPALIER_LOG: trace, debug, info (default), warning, error, off. Throws Error for
/// another word.
void init_logging();

/// "info" and so on, as ESPALIER_LOG has it. Throws Error for an unknown one.
void set_log_level(const std::string& level);

}  // namespace espalier
