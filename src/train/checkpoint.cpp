#include "train/checkpoint.h"

#include <array>

#include "base/error.h"
#include "io/safetensors.h"

namespace espalier {

namespace {

constexpr const char* kFormat = "1";

/// The sections of the file; a tensor is called SECTION/NAME.
template <class C>
auto sections(C& c) {
  return std::array{std::pair{std::string("parameters"), &c.parameters},
                    std::pair{std::string("optimizer"), &c.optimizer}, std::pair{std::string("ema"), &c.ema},
                    std::pair{std::string("best"), &c.best}};
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  Safetensors file;
  for (const auto& [section, tensors] : sections(checkpoint))
    for (const auto& [name, tensor] : *tensors) file.tensors.emplace_back(section + "/" + name, tensor);
  file.metadata = {{"espalier.checkpoint", kFormat},
                   {"espalier.progress", checkpoint.progress.dump()},
                   {"espalier.identity", checkpoint.identity.dump()},
                   {"espalier.threads", std::to_string(checkpoint.threads)},
                   {"espalier.machine", checkpoint.machine}};
  if (!checkpoint.kernels.empty()) file.metadata["espalier.kernels"] = checkpoint.kernels;
  save_safetensors(path, file);
}

Checkpoint load_checkpoint(const std::filesystem::path& path) {
  Safetensors file = load_safetensors(path);
  const auto field = [&](const char* key) -> const std::string& {
    const auto at = file.metadata.find(key);
    ESPALIER_CHECK(at != file.metadata.end(), path.string(), ": is no checkpoint of this program ('", key,
                   "' is missing); remove it to train from the start");
    return at->second;
  };
  ESPALIER_CHECK(field("espalier.checkpoint") == kFormat, path.string(), ": has checkpoint format ",
                 field("espalier.checkpoint"), ", this program reads ", kFormat,
                 "; go on with the program that wrote it");
  Checkpoint checkpoint;
  // Older ones say neither, and a CPU has no kernels to choose from.
  if (const auto at = file.metadata.find("espalier.machine"); at != file.metadata.end())
    checkpoint.machine = at->second;
  if (const auto at = file.metadata.find("espalier.kernels"); at != file.metadata.end())
    checkpoint.kernels = at->second;
  try {
    checkpoint.progress = parse_json(field("espalier.progress"));
    checkpoint.identity = parse_json(field("espalier.identity"));
    checkpoint.threads = parse_json(field("espalier.threads")).get<int>();
    ESPALIER_CHECK(
        checkpoint.identity.is_object(), path.string(),
        ": its metadata is damaged (the identity is no object); remove it to train from the start");
  } catch (const nlohmann::json::exception& e) {
    fail(str(path.string(), ": its metadata is damaged (", e.what(), "); remove it to train from the start"));
  }
  for (auto& [key, tensor] : file.tensors) {
    bool known = false;
    for (const auto& [section, tensors] : sections(checkpoint)) {
      if (!key.starts_with(section + "/")) continue;
      tensors->emplace_back(key.substr(section.size() + 1), std::move(tensor));
      known = true;
      break;
    }
    ESPALIER_CHECK(known, path.string(), ": holds an unknown tensor '", key, "'");
  }
  return checkpoint;
}

void check_identity(const std::filesystem::path& path, const Json& saved, const Json& now) {
  const auto text = [](const Json& of, const std::string& key) {
    return of.contains(key) ? of.at(key).dump() : std::string("none");
  };
  Json keys = now;
  keys.update(saved);
  for (const auto& [key, value] : keys.items())
    ESPALIER_CHECK(saved.contains(key) && now.contains(key) && saved.at(key) == now.at(key), path.string(),
                   ": belongs to another run (", key, " was ", text(saved, key), ", is ", text(now, key),
                   "); use another folder, or remove it to train from the start");
}

}  // namespace espalier
