// Runs a target without libFuzzer: over files, or over its seeds and changes of them, the same in every run.
//
//   fuzz_NAME FILE ...      what libFuzzer found
//   fuzz_NAME [ROUNDS [SEED]]

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <regex>

#include "base/random.h"
#include "fuzz/target.h"
#include "io/file.h"

namespace espalier::test {
namespace {

constexpr const char* kWords[] = {"-1",
                                  "0",
                                  "1",
                                  "255",
                                  "65536",
                                  "2147483647",
                                  "-2147483648",
                                  "2147483648",
                                  "4294967296",
                                  "9223372036854775807",
                                  "18446744073709551615",
                                  "1e308",
                                  "-1e308",
                                  "1e-320",
                                  "0.5",
                                  "nan",
                                  "null",
                                  "true",
                                  "\"\"",
                                  "\"../../x\"",
                                  "[]",
                                  "{}",
                                  "[[[[",
                                  "&a [*a]",
                                  "../",
                                  "\xFF",
                                  "\xEF\xBB\xBF",
                                  "\n",
                                  "\t",
                                  ",",
                                  ":"};

template <class List>
const auto& any_of(const List& list, Random& random) {
  return list[static_cast<size_t>(random.below(static_cast<int>(std::size(list))))];
}

/// One change of a text or of bytes: a number or a word put in place of another, a part lost, doubled or
/// damaged.
void change(std::string& input, Random& random) {
  const auto place = [&] { return static_cast<size_t>(random.below(static_cast<int>(input.size()) + 1)); };
  const auto part = [&](size_t at) { return std::min(input.size() - at, size_t(1 + random.below(40))); };
  const size_t at = place();
  switch (random.below(6)) {
    case 0: {  // most of what a reader trusts is a number
      static const std::regex number("-?[0-9]+(\\.[0-9]+)?(e-?[0-9]+)?");
      std::smatch found;
      const std::string rest = input.substr(at);
      if (!std::regex_search(rest, found, number)) return;
      input.replace(at + static_cast<size_t>(found.position()), static_cast<size_t>(found.length()),
                    any_of(kWords, random));
      return;
    }
    case 1:
      input.insert(at, any_of(kWords, random));
      return;
    case 2:
      input.erase(at, part(at));
      return;
    case 3:
      input.insert(place(), input.substr(at, part(at)));
      return;
    case 4:
      input.insert(at, 1, static_cast<char>(random.below(256)));
      return;
    default:
      if (at < input.size()) input[at] = static_cast<char>(random.below(256));
  }
}

void run(int rounds, uint64_t seed) {
  const std::vector<std::string> all = seeds();
  for (const std::string& input : all) read(input);
  Random random(seed, Purpose::kTest);
  const std::filesystem::path last = std::filesystem::temp_directory_path() / "fuzz_last_input";
  for (int round = 0; round < rounds; ++round) {
    std::string input = any_of(all, random);
    for (int changes = 1 + random.below(3); changes > 0; --changes) change(input, random);
    try {
      read(input);
    } catch (const std::exception& e) {
      write_atomically(last, input);
      std::fprintf(stderr, "round %d: %s; the input is in %s\n", round, e.what(), last.c_str());
      throw;
    }
  }
}

}  // namespace
}  // namespace espalier::test

int main(int argc, char** argv) {
  int rounds = 200, seed = 1;
  const auto number = [&](int i, int& value) {
    const std::string text = i < argc ? argv[i] : "";
    return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc();
  };
  if (argc > 1 && !number(1, rounds)) {
    for (int i = 1; i < argc; ++i) espalier::test::read(espalier::read_file(argv[i]));
    return 0;
  }
  number(2, seed);
  espalier::test::run(rounds, static_cast<uint64_t>(seed));
}
