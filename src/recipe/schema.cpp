#include "recipe/schema.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <iomanip>

#include "base/error.h"
#include "base/nearest.h"

namespace espalier {

namespace {

const char* name_of(Key::Kind kind) {
  switch (kind) {
    case Key::Kind::kInteger:
      return "integer";
    case Key::Kind::kNumber:
      return "number";
    case Key::Kind::kBoolean:
      return "true or false";
    case Key::Kind::kText:
      return "text";
    case Key::Kind::kBytes:
      return "bytes";
    case Key::Kind::kIntegers:
      return "list of integers";
    case Key::Kind::kNumbers:
      return "list of numbers";
    case Key::Kind::kTexts:
      return "list of texts";
    case Key::Kind::kIntegerOrAuto:
      return "integer or auto";
    case Key::Kind::kSection:
      return "section";
    case Key::Kind::kOpen:
      return "see help";
  }
  return "";
}

const char* expected(Key::Kind kind) {
  switch (kind) {
    case Key::Kind::kInteger:
      return "an integer";
    case Key::Kind::kNumber:
      return "a number";
    case Key::Kind::kBoolean:
      return "true or false";
    case Key::Kind::kText:
      return "text";
    case Key::Kind::kBytes:
      return "bytes such as 512MB";
    case Key::Kind::kIntegers:
      return "a list of integers";
    case Key::Kind::kNumbers:
      return "a list of numbers";
    case Key::Kind::kTexts:
      return "a list of texts";
    case Key::Kind::kIntegerOrAuto:
      return "an integer or auto";
    case Key::Kind::kSection:
      return "a section {key: value, ...}";
    case Key::Kind::kOpen:
      return "";
  }
  return "";
}

std::string show(const Json& value) {
  std::string text = value.dump();
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

bool in_range(const Key& key, double value) {
  return (key.low_open ? value > key.low : value >= key.low) &&
         (key.high_open ? value < key.high : value <= key.high);
}

/// One element: of the key itself or of its list.
void check_number(const Document& document, const std::string& path, const Key& key, const Json& value,
                  bool integer) {
  if (integer ? !value.is_number_integer() : !value.is_number())
    document.fail_at(path, str("is ", show(value), ", expected ", integer ? "an integer" : "a number"));
  if (!in_range(key, value.get<double>()))
    document.fail_at(path, str("is ", show(value), "; it must be ", key.range()));
}

Json check_text(const Document& document, const std::string& path, const Key& key, const Json& value) {
  Json text = value;
  if (const auto written = document.texts.find(path);
      !value.is_string() && !value.is_null() && written != document.texts.end())
    text = written->second;  // root: 2024 means the folder 2024
  if (!text.is_string()) document.fail_at(path, str("is ", show(value), ", expected ", expected(key.kind)));
  if (!key.choices.empty() &&
      std::find(key.choices.begin(), key.choices.end(), text.get<std::string>()) == key.choices.end())
    document.fail_at(path, str("is ", show(text), "; it must be ", key.range(),
                               nearest(text, key.choices).empty() ? "" : did_you_mean(text, key.choices)));
  return text;
}

Json check_value(const Document& document, const std::string& path, const Key& key, const Json& value) {
  using Kind = Key::Kind;
  if (value.is_null()) {
    if (key.kind == Kind::kSection) return check_section(document, path, Json::object(), key.keys);
    if (key.required) document.fail_at(path, str("has no value, expected ", expected(key.kind)));
    return key.fallback;
  }
  switch (key.kind) {
    case Kind::kIntegerOrAuto:
      if (value == "auto") return value;
      if (value.is_string())
        document.fail_at(path, str("is ", show(value), ", expected ", expected(key.kind)));
      check_number(document, path, key, value, true);
      return value;
    case Kind::kInteger:
    case Kind::kNumber:
      check_number(document, path, key, value, key.kind == Kind::kInteger);
      return value;
    case Kind::kBoolean:
      if (!value.is_boolean()) document.fail_at(path, str("is ", show(value), ", expected true or false"));
      return value;
    case Kind::kText:
      return check_text(document, path, key, value);
    case Kind::kBytes: {
      const int64_t bytes = value.is_number_integer() ? value.get<int64_t>()
                            : value.is_string()       ? parse_bytes(value.get<std::string>())
                                                      : -1;
      if (bytes < 0) document.fail_at(path, str("is ", show(value), ", expected bytes such as 512MB"));
      return bytes;
    }
    case Kind::kIntegers:
    case Kind::kNumbers:
    case Kind::kTexts: {
      if (!value.is_array())
        document.fail_at(path, str("is ", show(value), ", expected ", expected(key.kind)));
      Json list = Json::array();
      for (size_t i = 0; i < value.size(); ++i) {
        const std::string at = str(path, ".", i);
        if (key.kind == Kind::kTexts) {
          list.push_back(check_text(document, at, key, value[i]));
        } else {
          check_number(document, at, key, value[i], key.kind == Kind::kIntegers);
          list.push_back(value[i]);
        }
      }
      return list;
    }
    case Kind::kSection:
      if (!value.is_object())
        document.fail_at(path, str("is ", show(value), ", expected a section {key: value, ...}"));
      return check_section(document, path, value, key.keys);
    case Kind::kOpen:
      return value;
  }
  return value;
}

Key make(Key::Kind kind, std::string name, Json fallback, std::string help) {
  Key key;
  key.kind = kind;
  key.name = std::move(name);
  key.fallback = std::move(fallback);
  key.help = std::move(help);
  return key;
}

std::string limit(double value) {
  std::ostringstream out;
  out << std::setprecision(12) << value;
  return out.str();
}

}  // namespace

std::string Key::range() const {
  if (!choices.empty()) {
    std::string all;
    for (const std::string& choice : choices) all += (all.empty() ? "one of " : ", ") + choice;
    return all;
  }
  const bool below = std::isfinite(high), above = std::isfinite(low);
  if (below && above)
    return str("in ", low_open ? "(" : "[", limit(low), ", ", limit(high), high_open ? ")" : "]");
  if (above) return str(low_open ? "more than " : "at least ", limit(low));
  if (below) return str(high_open ? "less than " : "at most ", limit(high));
  return "";
}

Key integer(std::string name, Json fallback, double low, double high, std::string help) {
  Key key = make(Key::Kind::kInteger, std::move(name), std::move(fallback), std::move(help));
  key.low = low;
  key.high = high;
  return key;
}

Key number(std::string name, Json fallback, double low, double high, std::string help) {
  Key key = make(Key::Kind::kNumber, std::move(name), std::move(fallback), std::move(help));
  key.low = low;
  key.high = high;
  return key;
}

Key boolean(std::string name, Json fallback, std::string help) {
  return make(Key::Kind::kBoolean, std::move(name), std::move(fallback), std::move(help));
}

Key text(std::string name, Json fallback, std::string help) {
  return make(Key::Kind::kText, std::move(name), std::move(fallback), std::move(help));
}

Key choice(std::string name, Json fallback, std::vector<std::string> choices, std::string help) {
  Key key = make(Key::Kind::kText, std::move(name), std::move(fallback), std::move(help));
  key.choices = std::move(choices);
  return key;
}

Key section(std::string name, std::vector<Key> keys, std::string help) {
  Key key = make(Key::Kind::kSection, std::move(name), nullptr, std::move(help));
  key.keys = std::move(keys);
  return key;
}

Key of_kind(Key::Kind kind, std::string name, Json fallback, std::string help) {
  return make(kind, std::move(name), std::move(fallback), std::move(help));
}

Json check_section(const Document& document, const std::string& path, const Json& given,
                   const std::vector<Key>& keys) {
  std::vector<std::string> known;
  for (const Key& key : keys) known.push_back(key.name);
  for (const auto& [name, value] : given.items())
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const std::string at = path.empty() ? name : path + "." + name;
      document.fail_at(at, "unknown key" + did_you_mean(name, known));
    }
  Json complete = Json::object();
  for (const Key& key : keys) {
    const std::string at = path.empty() ? key.name : path + "." + key.name;
    if (given.contains(key.name)) {
      complete[key.name] = check_value(document, at, key, given.at(key.name));
    } else {
      if (key.required) document.fail_at(path, str("'", key.name, "' is missing: ", key.help));
      complete[key.name] = key.kind == Key::Kind::kSection
                               ? check_section(document, at, Json::object(), key.keys)
                               : key.fallback;
    }
  }
  return complete;
}

int64_t parse_bytes(const std::string& text) {
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || count < 0) return -1;
  std::string unit(end, text.data() + text.size());
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  while (!unit.empty() && unit.front() == ' ') unit.erase(unit.begin());
  const std::pair<const char*, int> units[] = {{"", 0},    {"B", 0},  {"KB", 10}, {"K", 10},
                                               {"MB", 20}, {"M", 20}, {"GB", 30}, {"G", 30}};
  for (const auto& [name, shift] : units)
    if (unit == name) return count > (INT64_MAX >> shift) ? -1 : count << shift;
  return -1;
}

std::string describe(const std::vector<Key>& keys, int indent) {
  std::ostringstream out;
  for (const Key& key : keys) {
    const std::string name = std::string(indent, ' ') + key.name + ":";
    out << std::left << std::setw(26) << name << (name.size() >= 26 ? " " : "") << key.help;
    std::string about =
        key.kind == Key::Kind::kOpen || key.kind == Key::Kind::kSection ? "" : name_of(key.kind);
    if (!key.choices.empty())
      about = key.range();
    else if (!key.range().empty())
      about += str(" ", key.range());
    if (key.required)
      about += about.empty() ? "required" : ", required";
    else if (!key.fallback.is_null())
      about += (about.empty() ? "default " : ", default ") + key.fallback.dump();
    if (!about.empty()) out << " (" << about << ")";
    out << "\n";
    if (key.kind == Key::Kind::kSection) out << describe(key.keys, indent + 2);
  }
  return out.str();
}

Json to_json(const std::vector<Key>& keys) {
  Json all = Json::object();
  for (const Key& key : keys) {
    Json one = {{"type", name_of(key.kind)}, {"help", key.help}, {"default", key.fallback}};
    if (key.required) one["required"] = true;
    if (!key.range().empty()) one["range"] = key.range();
    if (!key.choices.empty()) one["choices"] = key.choices;
    if (key.kind == Key::Kind::kSection) one["keys"] = to_json(key.keys);
    all[key.name] = std::move(one);
  }
  return all;
}

}  // namespace espalier
