#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "io/file.h"
#include "report/csv.h"
#include "report/tensorboard.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

uint32_t unmask(uint32_t masked) {
  const uint32_t rotated = masked - 0xA282EAD8u;
  return rotated >> 17 | rotated << 15;
}

TEST(TensorBoardTest, TheChecksumIsCrc32c) {
  EXPECT_EQ(unmask(masked_crc32c("123456789", 9)), 0xE3069283u);  // the standard's check value
  const char zeros[32] = {};
  EXPECT_EQ(unmask(masked_crc32c(zeros, 32)), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(unmask(masked_crc32c("", 0)), 0u);
}

/// The events of a file, its framing checked on the way.
std::vector<std::string> events_of(const std::string& bytes) {
  std::vector<std::string> events;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length;
    uint32_t crc;
    std::memcpy(&length, bytes.data() + at, 8);
    std::memcpy(&crc, bytes.data() + at + 8, 4);
    EXPECT_EQ(crc, masked_crc32c(bytes.data() + at, 8));
    if (at + 16 + length > bytes.size()) {
      ADD_FAILURE() << "a record reaches past the end";
      break;
    }
    std::memcpy(&crc, bytes.data() + at + 12 + length, 4);
    EXPECT_EQ(crc, masked_crc32c(bytes.data() + at + 12, length));
    events.push_back(bytes.substr(at + 12, length));
    at += 16 + length;
  }
  return events;
}

TEST(TensorBoardTest, ScalarsAreFramedEvents) {
  const test::TemporaryDirectory folder;
  std::string bytes;
  {
    TensorBoardWriter writer(folder.path() / "made" / "on the way");
    writer.scalar("train/loss", 300, 0.5);
    EXPECT_TRUE(writer.path().filename().string().starts_with("events.out.tfevents."));
    bytes = read_file(writer.path());  // while it is open
  }
  const std::vector<std::string> events = events_of(bytes);
  ASSERT_EQ(events.size(), 2u);
  // Field 1 wall time as fixed64; field 2 step; field 3 the version.
  EXPECT_EQ(events[0][0], 0x09);
  EXPECT_EQ(events[0].substr(9), std::string("\x10\x00\x1A\x0D", 4) + "brain.Event:2");
  // Step 300 is AC 02 in base 128; the summary has one value of tag and float 0.5.
  EXPECT_EQ(events[1].substr(9), std::string("\x10\xAC\x02\x2A\x13\x0A\x11\x0A\x0A", 9) + "train/loss" +
                                     std::string("\x15\x00\x00\x00\x3F", 5));
  double when;
  std::memcpy(&when, events[1].data() + 1, 8);
  EXPECT_GT(when, 1.6e9);
}

TEST(TensorBoardTest, AResumedRunSaysFromWhichStep) {
  const test::TemporaryDirectory folder;
  TensorBoardWriter writer(folder.path(), 5);
  const std::vector<std::string> events = events_of(read_file(writer.path()));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].substr(9), std::string("\x10\x05\x3A\x02\x08\x01", 6));
}

TEST(TensorBoardTest, AFolderThatCannotBeMadeIsAnError) {
  EXPECT_THROW(TensorBoardWriter("/proc/nothing/here"), Error);
}

TEST(CsvTest, CellsAreQuotedWhereTheyMustBe) {
  EXPECT_EQ(csv_cell("plain"), "plain");
  EXPECT_EQ(csv_cell("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_cell("say \"x\""), "\"say \"\"x\"\"\"");
}

TEST(CsvTest, AResumedTableKeepsTheRowsBefore) {
  const test::TemporaryDirectory folder;
  const auto path = folder.path() / "table.csv";
  {
    CsvTable table(path, {"epoch", "x"});
    for (int i = 1; i <= 3; ++i) table.add({std::to_string(i), str("v", i)});
    EXPECT_THROW(table.add({"4"}), Error);
  }
  CsvTable(path, {"epoch", "x"}, 3).add({"3", "again"});
  EXPECT_EQ(read_file(path), "epoch,x\n1,v1\n2,v2\n3,again\n");
  CsvTable(path, {"epoch", "y"}, 3).add({"3", "other"});  // other columns: nothing to take over
  EXPECT_EQ(read_file(path), "epoch,y\n3,other\n");
}

TEST(ProgressTest, DurationsAreReadable) {
  EXPECT_EQ(Progress::duration(0), "0:00");
  EXPECT_EQ(Progress::duration(59.6), "1:00");
  EXPECT_EQ(Progress::duration(754), "12:34");
  EXPECT_EQ(Progress::duration(3723), "1:02:03");
  EXPECT_EQ(Progress::duration(-1), "?");
}

TEST(LogTest, LevelsAreNamedAsInTheEnvironment) {
  for (const char* level : {"trace", "debug", "info", "warning", "error", "off"}) set_log_level(level);
  EXPECT_THROW(set_log_level("verbose"), Error);
  set_log_level("info");
}

}  // namespace
}  // namespace espalier
