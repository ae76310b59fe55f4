#include "recipe/result.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "io/file.h"

namespace espalier {

namespace {

using Row = std::vector<std::string>;

std::string grouped(int64_t count) {
  std::string digits = std::to_string(count), out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string percent(double share) { return fmt::format("{:.1f}", 100 * share); }

std::string share_of(const Json& variant, const Json& first, const char* key) {
  return fmt::format("{:.0f}", 100 * variant.at(key).get<double>() / first.at(key).get<double>());
}

/// Display width: the table holds ASCII and two-byte letters at most.
size_t width(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

std::string layout(const std::vector<Row>& rows, bool markdown) {
  std::vector<size_t> widths(rows[0].size());
  for (const Row& row : rows)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width(row[c]));
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string line = markdown ? "|" : "";
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const std::string gap(widths[c] - width(rows[r][c]), ' ');
      const std::string cell = c == 0 ? rows[r][c] + gap : gap + rows[r][c];
      line += markdown ? " " + cell + " |" : (c ? "  " : "") + cell;
    }
    out += line + "\n";
    if (r > 0) continue;
    line = markdown ? "|" : "";
    for (size_t c = 0; c < widths.size(); ++c)
      line += markdown ? (c ? "--:|" : "---|") : (c ? "  " : "") + std::string(widths[c], '-');
    out += line + "\n";
  }
  return out;
}

std::string cell(const Json& variant, const char* section, const char* key, const char* format) {
  if (!variant.contains(section) || variant.at(section).is_null() || !variant.at(section).contains(key))
    return "";
  return fmt::format(fmt::runtime(format), variant.at(section).at(key).get<double>());
}

}  // namespace

Json read_result(const std::filesystem::path& run) {
  const std::filesystem::path path = run / "result.json";
  ESPALIER_CHECK(std::filesystem::exists(path), "no result in ", run.string(),
                 "; it is written by `espalier run RECIPE --out ", run.string(), "`");
  Json json = parse_json(read_file(path));
  ESPALIER_CHECK(json.is_object() && json.contains("variants"), path.string(),
                 " is no result of a run; run the recipe again");
  try {
    result_table(json, false);
  } catch (const Json::exception& e) {
    fail(str(path.string(), ": lacks something or is damaged (", e.what(), "); run the recipe again"));
  }
  return json;
}

std::string result_table(const Json& result, bool markdown) {
  const Json& variants = result.at("variants");
  if (variants.empty()) return "";
  const std::string metric = result.at("metric");
  const bool test =
      std::any_of(variants.begin(), variants.end(), [](const Json& v) { return v.contains("test"); });
  const Json& first = variants.begin().value();
  Row head = {"", "parameters", "%", "MACs (M)", "%", "file (kB)", "%", metric + " %", "95 %"};
  if (test) head.push_back("test %");
  for (const char* column : {"ms", "p95", "images/s"}) head.push_back(column);
  std::vector<Row> rows = {head};
  for (const auto& [name, v] : variants.items()) {
    Row row = {name,
               grouped(v.at("parameters")),
               share_of(v, first, "parameters"),
               fmt::format("{:.1f}", v.at("macs").get<double>() / 1e6),
               share_of(v, first, "macs"),
               grouped((v.at("bytes").get<int64_t>() + 500) / 1000),
               share_of(v, first, "bytes")};
    if (v.contains("val")) {
      const Json& val = v.at("val");
      row.push_back(percent(val.at("value")));
      row.push_back(percent(val.at("low")) + "-" + percent(val.at("high")));
    } else {
      row.insert(row.end(), {"", ""});
    }
    if (test) row.push_back(v.contains("test") ? percent(v.at("test").at("value")) : "");
    row.push_back(cell(v, "latency_ms", "median", "{:.2f}"));
    row.push_back(cell(v, "latency_ms", "p95", "{:.2f}"));
    row.push_back(v.contains("images_per_second")
                      ? fmt::format("{:.0f}", v.at("images_per_second").get<double>())
                      : "");
    rows.push_back(std::move(row));
  }
  std::string out = layout(rows, markdown);
  std::string note = fmt::format("{} on {} with {} threads", result.at("task").get<std::string>(),
                                 result.value("processor", result.at("device").get<std::string>()),
                                 result.at("threads").get<int>());
  if (first.contains("val"))
    note += fmt::format("; {} on {} images", metric, first.at("val").at("samples").get<int64_t>());
  if (test && first.contains("test"))
    note += fmt::format(", test on {}", first.at("test").at("samples").get<int64_t>());
  note += "; ms at batch 1, median and 95th percentile; images/s at batch " +
          std::to_string(result.value("throughput_batch", 0));
  return out + (markdown ? "\n" : "") + note + "\n";
}

std::vector<std::pair<std::string, std::string>> bound_quantities(const std::string& metric) {
  return {
      {metric, "on val"},
      {metric + "_test", "on the test list"},
      {metric + "_drop", "how far below the variant it was made from, on val"},
      {"macs", "multiply-accumulates"},
      {"macs_share", "of the variant it was made from"},
      {"parameters", "trainable"},
      {"parameters_share", "of the variant it was made from"},
      {"bytes", "of the model file"},
      {"bytes_share", "of the variant it was made from"},
      {"latency_ms", "median at batch 1"},
      {"speedup", "latency of the variant it was made from over its own"},
      {"images_per_second", "at the batch of the bench stage"},
  };
}

double quantity(const Json& result, const std::string& variant, const std::string& name) {
  const Json& variants = result.at("variants");
  ESPALIER_CHECK(variants.contains(variant), "the run has no variant '", variant, "'");
  const Json& v = variants.at(variant);
  const std::string metric = result.at("metric");
  const auto need = [&](const Json& from, const char* key, const std::string& of) -> const Json& {
    ESPALIER_CHECK(from.contains(key), "'", of, "' has no ", key, ", which ", variant, ".", name, " needs");
    return from.at(key);
  };
  const auto source = [&]() -> const Json& {
    ESPALIER_CHECK(v.contains("source") && v.at("source").is_string(), "'", variant,
                   "' was made from no other variant, so it has no ", name);
    return variants.at(v.at("source").get<std::string>());
  };
  if (name == metric) return need(v, "val", variant).at("value");
  if (name == metric + "_test") return need(v, "test", variant).at("value");
  if (name == metric + "_drop")
    return need(source(), "val", "its source").at("value").get<double>() -
           need(v, "val", variant).at("value").get<double>();
  if (name == "latency_ms") return need(v, "latency_ms", variant).at("median");
  if (name == "images_per_second") return need(v, "images_per_second", variant);
  if (name == "speedup")
    return need(source(), "latency_ms", "its source").at("median").get<double>() /
           need(v, "latency_ms", variant).at("median").get<double>();
  for (const char* key : {"macs", "parameters", "bytes"}) {
    if (name == key) return v.at(key);
    if (name == str(key, "_share")) return v.at(key).get<double>() / source().at(key).get<double>();
  }
  fail("no quantity is called '" + name + "'");
}

std::vector<Checked> check_bounds(const std::vector<Bound>& bounds, const Json& result) {
  std::vector<Checked> all;
  for (const Bound& bound : bounds) {
    Checked checked;
    checked.key = bound.variant + "." + bound.quantity;
    checked.place = bound.place;
    checked.value = quantity(result, bound.variant, bound.quantity);
    // Written so that a NaN fails.
    checked.holds = (!bound.min || checked.value >= *bound.min) &&
                    (!bound.max || checked.value <= *bound.max) && checked.value == checked.value;
    if (bound.min) checked.bounds = fmt::format("at least {:g}", *bound.min);
    if (bound.max) checked.bounds += fmt::format("{}at most {:g}", bound.min ? " and " : "", *bound.max);
    all.push_back(std::move(checked));
  }
  return all;
}

}  // namespace espalier
