// Field numbers are those of TensorFlow's event.proto and summary.proto:
//   Event:        1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log
//   Summary:      1 value (repeated);  Value: 1 tag string, 2 simple_value float
//   SessionLog:   1 status enum, START is 1
// A record is u64 length, u32 masked CRC of the length, the bytes, u32 masked CRC of the bytes (tfrecord).

#include "report/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace espalier {

namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
    table[i] = crc;
  }
  return table;
}

enum Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  out += static_cast<char>(value);
}

void put_key(std::string& out, uint32_t field, Wire wire) { put_varint(out, field << 3 | wire); }

template <class T>
void put_fixed(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);  // little-endian, as all targets are
  out.append(bytes, sizeof value);
}

void put_bytes(std::string& out, uint32_t field, const std::string& bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string event_at(int64_t step) {
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::string event;
  put_key(event, 1, kFixed64);
  put_fixed(event, now);
  put_key(event, 2, kVarint);
  put_varint(event, static_cast<uint64_t>(step));
  return event;
}

}  // namespace

uint32_t masked_crc32c(const void* data, size_t bytes) {
  static constexpr std::array<uint32_t, 256> table = make_crc_table();
  uint32_t crc = ~0u;
  const auto* p = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < bytes; ++i) crc = (crc >> 8) ^ table[(crc ^ p[i]) & 0xFF];
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder, int64_t first_step) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  ESPALIER_CHECK(!code, folder.string(), ": the folder cannot be made (", code.message(),
                 "); check its permissions");
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  // Readers take files in the order of their names, so the second comes first and its fraction decides.
  const int64_t micro = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  char stamp[40];
  std::snprintf(stamp, sizeof stamp, "%010lld.%06lld", static_cast<long long>(micro / 1000000),
                static_cast<long long>(micro % 1000000));
  path_ = folder / str("events.out.tfevents.", stamp, ".", host, ".", ::getpid());
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  ESPALIER_CHECK(file_ >= 0, path_.string(), ": cannot be made (", std::strerror(errno),
                 "); check the folder and its permissions");
  std::string version = event_at(0);
  put_bytes(version, 3, "brain.Event:2");
  write(version);
  if (first_step <= 0) return;
  std::string start = event_at(first_step), log;
  put_key(log, 1, kVarint);
  put_varint(log, 1);
  put_bytes(start, 7, log);
  write(start);
}

TensorBoardWriter::~TensorBoardWriter() {
  if (file_ >= 0) ::close(file_);
}

void TensorBoardWriter::scalar(const std::string& tag, int64_t step, double value) {
  std::string one, summary, event = event_at(step);
  put_bytes(one, 1, tag);
  put_key(one, 2, kFixed32);
  put_fixed(one, static_cast<float>(value));
  put_bytes(summary, 1, one);
  put_bytes(event, 5, summary);
  write(event);
}

void TensorBoardWriter::write(const std::string& event) {
  std::string length, record;
  put_fixed(length, static_cast<uint64_t>(event.size()));
  record = length;
  put_fixed(record, masked_crc32c(length.data(), length.size()));
  record += event;
  put_fixed(record, masked_crc32c(event.data(), event.size()));
  const ssize_t written = ::write(file_, record.data(), record.size());
  ESPALIER_CHECK(written == static_cast<ssize_t>(record.size()), path_.string(), ": cannot be written (",
                 written < 0 ? std::strerror(errno) : "no space left", "); free space on the disk");
}

}  // namespace espalier
