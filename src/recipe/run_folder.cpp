#include "recipe/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "io/file.h"
#include "recipe/earlier_record.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

constexpr const char* kRecordFile = "stage.json";

std::optional<StageRecord> read_record(const fs::path& path) {
  if (!fs::exists(path)) return {};
  const Json json = parse_json(read_file(path));
  const auto at = [&](const char* key, const Json& fallback) { return json.value(key, fallback); };
  // Not ours or damaged: the stage runs again.
  if (!json.is_object() || !at("inputs", {}).is_object() || !at("outputs", Json::object()).is_object() ||
      !at("seconds", 0.0).is_number() || !at("finished", false).is_boolean())
    return {};
  StageRecord record;
  record.inputs = json.at("inputs");
  record.outputs = at("outputs", Json::object());
  record.metrics = at("metrics", Json::object());
  record.seconds = at("seconds", 0.0);
  record.finished = at("finished", false);
  return record;
}

void write_record(const fs::path& path, const StageRecord& record) {
  write_atomically(path, Json{{"finished", record.finished},
                              {"seconds", record.seconds},
                              {"inputs", record.inputs},
                              {"outputs", record.outputs},
                              {"metrics", record.metrics}}
                                 .dump(2) +
                             "\n");
}

}  // namespace

RunFolder::RunFolder(fs::path root) : root_(std::move(root)) {
  std::error_code error;
  fs::create_directories(root_, error);
  ESPALIER_CHECK(!error, "cannot make the folder ", root_.string(), ": ", error.message(),
                 "; name another one with --out");
  const std::string lock = (root_ / ".lock").string();
  lock_ = ::open(lock.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  ESPALIER_CHECK(lock_ >= 0, "cannot write in the folder ", root_.string(), ": ", std::strerror(errno),
                 "; name another one with --out");
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    fail(str("another espalier is at work in ", root_.string(),
             "; wait for it or name another folder with --out"));
  }
}

RunFolder::~RunFolder() { ::close(lock_); }

namespace {

/// Whether a folder has the record of a stage that did not get anywhere, and nothing else.
bool holds_nothing(const fs::path& folder, const StageRecord& record) {
  return !record.finished && std::all_of(fs::directory_iterator(folder), {}, [](const auto& entry) {
    return entry.path().filename() == kRecordFile;
  });
}

/// How what lies in one folder stands to `inputs`.
StageState folder_state(const fs::path& folder, const Json& inputs) {
  StageState state;
  const std::optional<StageRecord> record = read_record(folder / kRecordFile);
  if (!record) return state;
  state.record = *record;
  state.empty = holds_nothing(folder, *record);
  // What is unfinished goes on from files that know exactly the keys of then.
  state.why =
      first_difference(inputs, record->finished ? as_of_today(record->inputs, inputs) : record->inputs);
  if (!state.why.empty()) {
    state.what = StageState::What::kStale;
    return state;
  }
  state.what = record->finished ? StageState::What::kFinished : StageState::What::kUnfinished;
  if (!record->finished) return state;
  for (const auto& [file, hash] : record->outputs.items()) {
    const fs::path path = folder / file;
    if (!fs::exists(path))
      state.why = file + " is gone";
    else if (file_hash(path) != hash)
      state.why = file + " was changed";
    if (!state.why.empty()) state.what = StageState::What::kStale;
  }
  return state;
}

fs::path old_of(const fs::path& folder) { return folder.string() + ".old"; }

void move_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  ESPALIER_CHECK(!error, "cannot move ", from.string(), " to ", to.string(), ": ", error.message());
}

}  // namespace

const char* word_of(StageState::What what) {
  constexpr const char* kWords[] = {"done", "continues", "runs again", "runs", "taken back"};
  return kWords[static_cast<int>(what)];
}

StageState stage_state(const fs::path& root, const std::string& name, const Json& inputs) {
  const fs::path folder = root / name;
  StageState state = folder_state(folder, inputs);
  if (state.what == StageState::What::kFinished) return state;
  StageState old = folder_state(old_of(folder), inputs);
  if (old.what != StageState::What::kFinished) return state;
  old.what = StageState::What::kSetAside;
  return old;
}

void RunFolder::take_back(const std::string& name) const {
  const fs::path folder = stage(name), old = old_of(folder), between = folder.string() + ".swap";
  std::error_code error;
  if (folder_state(folder, Json::object()).empty)
    fs::remove_all(folder, error);
  else if (fs::exists(folder))  // it is not where a call ended between these lines
    move_folder(folder, between);
  move_folder(old, folder);
  if (fs::exists(between)) move_folder(between, old);
}

void RunFolder::begin(const std::string& name, const Json& inputs, const StageState& state) const {
  const fs::path folder = stage(name);
  std::error_code error;
  if (state.what == StageState::What::kStale && state.empty) {
    fs::remove_all(folder, error);  // not worth the place of what is in NAME.old
  } else if (state.what == StageState::What::kStale) {
    fs::remove_all(old_of(folder), error);
    move_folder(folder, old_of(folder));
  }
  fs::create_directories(folder, error);
  ESPALIER_CHECK(!error, "cannot make the folder ", folder.string(), ": ", error.message());
  if (state.what != StageState::What::kUnfinished) {
    StageRecord record;
    record.inputs = inputs;
    write_record(folder / kRecordFile, record);
  }
}

void RunFolder::finish(const std::string& name, StageRecord record,
                       const std::vector<std::string>& outputs) const {
  record.finished = true;
  record.outputs = Json::object();
  for (const std::string& file : outputs) record.outputs[file] = file_hash(stage(name) / file);
  write_record(stage(name) / kRecordFile, record);
}

std::string first_difference(const Json& now, const Json& before, const std::string& path) {
  if (now.is_object() && before.is_object()) {
    for (const auto& [key, value] : now.items()) {
      const std::string at = path.empty() ? key : path + "." + key;
      if (!before.contains(key)) return at + " is new";
      if (std::string difference = first_difference(value, before.at(key), at); !difference.empty())
        return difference;
    }
    for (const auto& [key, value] : before.items())
      if (!now.contains(key)) return (path.empty() ? key : path + "." + key) + " is gone";
    return "";
  }
  if (now == before) return "";
  const auto shown = [](const Json& value) {
    std::string text = value.dump();
    return text.size() > 60 ? text.substr(0, 57) + "..." : text;
  };
  return str(path, " is ", shown(now), ", was ", shown(before));
}

std::string hex(uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

std::string file_hash(const fs::path& path) {
  const std::string bytes = read_file(path);
  return hex(fnv1a(bytes.data(), bytes.size()));
}

}  // namespace espalier
