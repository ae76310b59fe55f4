// The header of a safetensors file; its length and sixteen bytes of data come with it.

#include "io/safetensors.h"

#include "base/error.h"
#include "fuzz/target.h"
#include "support/temporary_directory.h"

namespace espalier::test {

std::vector<std::string> seeds() {
  return {
      R"({"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"I8","shape":[8],"data_offsets":[8,16]}})",
      R"({"__metadata__":{"k":"v"},"h":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},"i":{"dtype":"I64","shape":[],"data_offsets":[8,16]}})"};
}

void read(const std::string& input) {
  static const TemporaryDirectory folder;
  const std::filesystem::path path = folder.path() / "file.safetensors";
  const uint64_t length = input.size();
  put(path,
      std::string(reinterpret_cast<const char*>(&length), sizeof length) + input + std::string(16, '\1'));
  try {
    for (const auto& [name, tensor] : load_safetensors(path).tensors) tensor.to_vector();
  } catch (const Error&) {
  }
}

}  // namespace espalier::test
