#include "io/safetensors.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "io/file.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

constexpr const char* kChecksum = "espalier.checksum";
constexpr const char* kNoChecksum = "0000000000000000";
constexpr uint64_t kMaxHeader = uint64_t{100} << 20;  // the format's own limit

const char* code_of(DType type) {
  constexpr const char* codes[] = {"F32", "BF16", "I8", "U8", "I32"};
  return codes[static_cast<int>(type)];
}

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// A tensor as it lies in a file.
struct Entry {
  std::string name, code;
  Shape shape;
  uint64_t begin = 0, end = 0;
};

float from_half(uint16_t h) {
  const uint32_t sign = uint32_t{h} >> 15 << 31, exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -value : value;
  }
  const uint32_t bits = sign | (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | mantissa << 13;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

template <class Element, class Convert>
void convert(const char* from, float* to, int64_t count, Convert one) {
  for (int64_t i = 0; i < count; ++i) {
    Element element;
    std::memcpy(&element, from + i * static_cast<int64_t>(sizeof element), sizeof element);
    to[i] = static_cast<float>(one(element));
  }
}

int width_of(const std::string& code) {
  for (const auto& [known, bytes] : {std::pair{"F32", 4},
                                     {"BF16", 2},
                                     {"I8", 1},
                                     {"U8", 1},
                                     {"I32", 4},
                                     {"F16", 2},
                                     {"F64", 8},
                                     {"I64", 8}})
    if (code == known) return bytes;
  return 0;
}

Tensor read_tensor(const Entry& e, const char* bytes, const std::string& file) {
  for (DType type : {DType::kF32, DType::kBF16, DType::kS8, DType::kU8, DType::kS32})
    if (e.code == code_of(type)) {
      Tensor t(e.shape, Device::kCpu, type);
      std::memcpy(t.data(), bytes, static_cast<size_t>(t.bytes()));
      return t;
    }
  if (e.code == "I64") {
    Tensor t(e.shape, Device::kCpu, DType::kS32);
    for (int64_t i = 0; i < t.elements(); ++i) {
      int64_t v;
      std::memcpy(&v, bytes + i * 8, 8);
      ESPALIER_CHECK(v == static_cast<int32_t>(v), file, ": tensor '", e.name, "' holds ", v,
                     ", which does not fit 32 bits");
      t.s32()[i] = static_cast<int32_t>(v);
    }
    return t;
  }
  Tensor t(e.shape);
  if (e.code == "F64")
    convert<double>(bytes, t.f32(), t.elements(), [](double v) { return v; });
  else
    convert<uint16_t>(bytes, t.f32(), t.elements(), from_half);
  return t;
}

Entry parse_entry(const std::string& name, const Json& j, const std::string& file) {
  Entry e;
  e.name = name;
  e.code = j.at("dtype").get<std::string>();
  const int width = width_of(e.code);
  ESPALIER_CHECK(width, file, ": tensor '", name, "' has type ", e.code, ", which is not supported");
  constexpr uint64_t kMostElements = uint64_t{1} << 40;
  const Json& extents = j.at("shape");
  bool possible = extents.is_array() && extents.size() <= Shape::kMaxAxes;
  uint64_t elements = 1;
  std::vector<int> shape;
  for (size_t i = 0; possible && i < extents.size(); ++i) {
    shape.push_back(json_integer(extents[i]).value_or(-1));
    const auto extent = static_cast<uint64_t>(shape.back());
    possible = shape.back() >= 0 && (extent == 0 || elements <= kMostElements / extent);
    elements *= extent;
  }
  ESPALIER_CHECK(possible, file, ": tensor '", name, "' has an impossible shape ", extents.dump());
  e.shape = Shape(shape);
  e.begin = j.at("data_offsets").at(0).get<uint64_t>();
  e.end = j.at("data_offsets").at(1).get<uint64_t>();
  ESPALIER_CHECK(e.end >= e.begin && e.end - e.begin == elements * static_cast<uint64_t>(width), file,
                 ": tensor '", name, "' of shape ", e.shape, " and type ", e.code, " cannot take ",
                 e.end - e.begin, " bytes");
  return e;
}

}  // namespace

void save_safetensors(const fs::path& path, const Safetensors& content) {
  Json header = Json::object();
  Json& metadata = header["__metadata__"] = Json::object();
  for (const auto& [key, value] : content.metadata) metadata[key] = value;
  metadata[kChecksum] = kNoChecksum;
  uint64_t offset = 0;
  Tensors host;
  for (const auto& [name, tensor] : content.tensors) {
    ESPALIER_CHECK(!header.contains(name), path.string(), ": two tensors are named '", name, "'");
    host.push_back(tensor.to(Device::kCpu));
    const uint64_t end = offset + static_cast<uint64_t>(tensor.bytes());
    header[name] = {{"dtype", code_of(tensor.dtype())},
                    {"shape", tensor.shape().vector()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the tensors start aligned
  uint64_t checksum = fnv1a(text.data(), text.size());
  for (const Tensor& t : host) checksum = fnv1a(t.data(), static_cast<size_t>(t.bytes()), checksum);
  const std::string empty_field = str('"', kChecksum, "\":\"");
  const size_t at = text.find(empty_field + kNoChecksum);
  text.replace(at + empty_field.size(), 16, hex(checksum));

  const uint64_t length = text.size();
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(&length, 1)),
                                                    std::as_bytes(std::span(text))};
  for (const Tensor& t : host)
    pieces.emplace_back(static_cast<const std::byte*>(t.data()), static_cast<size_t>(t.bytes()));
  write_atomically(path, pieces);
}

Safetensors load_safetensors(const fs::path& path) {
  const std::string file = path.string();
  std::string bytes = read_file(path);
  const char* advice = "; the file is damaged or incomplete, copy or make it again";
  ESPALIER_CHECK(bytes.size() >= 8, file, ": has only ", bytes.size(),
                 " bytes, too few for a safetensors file", advice);
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  ESPALIER_CHECK(length <= kMaxHeader && length <= bytes.size() - 8, file, ": its header claims ", length,
                 " bytes of ", bytes.size(), advice);
  Safetensors content;
  std::vector<Entry> entries;
  std::string checksum;
  try {
    const Json header = parse_json(std::string_view(bytes).substr(8, length));
    if (!header.is_object()) fail(file + ": its header is no safetensors header" + advice);
    for (const auto& [name, j] : header.items()) {
      if (name != "__metadata__") {
        entries.push_back(parse_entry(name, j, file));
        continue;
      }
      for (const auto& [key, value] : j.items()) content.metadata[key] = value.get<std::string>();
    }
  } catch (const nlohmann::json::exception&) {
    fail(file + ": its header is no safetensors header" + advice);
  }
  if (const auto at = content.metadata.find(kChecksum); at != content.metadata.end()) {
    checksum = at->second;
    content.metadata.erase(at);
  }
  // A file of this program always has one: where it is missing, its name was damaged.
  for (const auto& [key, value] : content.metadata)
    ESPALIER_CHECK(!checksum.empty() || !key.starts_with("espalier"), file, ": its checksum is missing",
                   advice);
  const uint64_t data = bytes.size() - 8 - length;
  uint64_t next = 0;
  std::vector<const Entry*> by_offset;
  for (const Entry& e : entries) by_offset.push_back(&e);
  std::sort(by_offset.begin(), by_offset.end(), [](const Entry* a, const Entry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  for (const Entry* e : by_offset) {
    ESPALIER_CHECK(e->begin == next && e->end <= data, file, ": tensor '", e->name, "' lies at bytes ",
                   e->begin, " to ", e->end, " of ", data, advice);
    next = e->end;
  }
  ESPALIER_CHECK(next == data, file, ": has ", data, " bytes of tensors, its header lists ", next, advice);
  if (!checksum.empty()) {
    const std::string field = str('"', kChecksum, "\":\"");
    const size_t at = std::string_view(bytes).substr(8, length).find(field + checksum);
    ESPALIER_CHECK(at != std::string::npos && checksum.size() == 16, file, ": its checksum is unreadable",
                   advice);
    bytes.replace(8 + at + field.size(), 16, kNoChecksum);
    ESPALIER_CHECK(hex(fnv1a(bytes.data() + 8, bytes.size() - 8)) == checksum, file,
                   ": its checksum is wrong", advice);
  }
  for (const Entry& e : entries)
    content.tensors.emplace_back(e.name, read_tensor(e, bytes.data() + 8 + length + e.begin, file));
  return content;
}

}  // namespace espalier
