#pragma once
// Standard error shared by log lines and a progress bar: lines push the bar down, the bar redraws itself.

#include <string>

namespace espalier::terminal {

bool is_terminal();  ///< of standard error
int width();         ///< in columns; 80 when unknown

/// A complete line; a bar that is shown moves below it. Thread-safe.
void write_line(const std::string& line);
/// Replaces the bar, which stays the last line; empty removes it.
void show_bar(const std::string& bar);

}  // namespace espalier::terminal
