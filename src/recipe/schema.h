#pragma once
// What a recipe may say: one table of keys. Parsing, messages and `espalier recipe --schema` all read it.

#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "recipe/document.h"

namespace espalier {

/// One key of a recipe or of one of its sections.
struct Key {
  enum class Kind {
    kInteger,
    kNumber,
    kBoolean,
    kText,
    kBytes,     ///< "512MB", "2GB" or a plain count
    kIntegers,  ///< a list
    kNumbers,   ///< a list
    kTexts,     ///< a list
    kIntegerOrAuto,
    kSection,   ///< keys of its own
    kOpen,      ///< checked by whoever reads it: transforms, model options, bounds
  };

  std::string name;
  Kind kind = Kind::kText;
  Json fallback;     ///< null: absent unless given
  std::string help;  ///< one line
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  bool low_open = false, high_open = false;  ///< whether the limit itself is out of range
  std::vector<std::string> choices;          ///< of a text
  std::vector<Key> keys;                     ///< of a section
  bool required = false;

  std::string range() const;  ///< "in (0, 1]", "one of a, b", "" when anything goes
};

/// Makes keys in one line each: integer("batch", 32, 1, 4096, "images a step").
Key integer(std::string name, Json fallback, double low, double high, std::string help);
Key number(std::string name, Json fallback, double low, double high, std::string help);
Key boolean(std::string name, Json fallback, std::string help);
Key text(std::string name, Json fallback, std::string help);
Key choice(std::string name, Json fallback, std::vector<std::string> choices, std::string help);
Key section(std::string name, std::vector<Key> keys, std::string help);
Key of_kind(Key::Kind kind, std::string name, Json fallback, std::string help);

/// The section at `path` of the document, checked against the table and with every fallback filled in.
/// Throws Error "FILE:LINE: PATH: what is; what to do" at the first unknown key (with the nearest valid one),
/// wrong type or impossible value.
Json check_section(const Document& document, const std::string& path, const Json& given,
                   const std::vector<Key>& keys);

/// Bytes of "512MB": a count with an optional KB, MB, GB (powers of 1024). -1 if it is none.
int64_t parse_bytes(const std::string& text);

/// The table as text for people, and as JSON for programs.
std::string describe(const std::vector<Key>& keys, int indent = 0);
Json to_json(const std::vector<Key>& keys);

}  // namespace espalier
