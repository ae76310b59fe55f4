#pragma once
// Bytes inside a page.

#include <string>

namespace espalier {

/// "data:TYPE;base64,..." (RFC 2397).
std::string data_uri(const std::string& type, const std::string& bytes);

}  // namespace espalier
