// What the command line says about itself and about what it does not understand.

#include <gtest/gtest.h>

#include <fstream>

#include "command_line.h"
#include "kernels/device.h"

namespace espalier {
namespace {

using test::run;

/// The line on standard error, without the hint at its end.
std::string message(const test::Ran& ran) { return ran.err.substr(0, ran.err.find(" (espalier --help")); }

TEST(UsageTest, HelpNamesEveryCommandAndTheExitCodes) {
  const test::Ran ran = run({"--help"});
  EXPECT_EQ(ran.code, kOk);
  for (const char* command : {"run", "train", "evaluate", "predict", "sensitivity", "prune", "quantize",
                              "bench", "info", "data", "recipe", "report", "compare"})
    EXPECT_NE(ran.out.find(std::string("  ") + command), std::string::npos) << command;
  EXPECT_NE(ran.out.find("130 interrupted"), std::string::npos);
}

TEST(UsageTest, EveryCommandHasHelpAndJson) {
  for (const char* command : {"run", "train", "evaluate", "predict", "sensitivity", "prune", "quantize",
                              "bench", "info", "recipe", "report", "compare"}) {
    const test::Ran ran = run({command, "--help"});
    EXPECT_EQ(ran.code, kOk) << command;
    EXPECT_NE(ran.out.find("--json"), std::string::npos) << command;
  }
  for (const char* command : {"make", "check", "transforms"})
    EXPECT_NE(run({"data", command, "--help"}).out.find("--json"), std::string::npos) << command;
}

TEST(UsageTest, UnknownWordsGetTheNearest) {
  EXPECT_EQ(message(run({"trian"})), "espalier: unknown command 'trian'; did you mean 'train'?");
  EXPECT_EQ(message(run({"train", "--epcohs", "3"})),
            "espalier: unknown option '--epcohs'; did you mean '--epochs'?");
  EXPECT_EQ(message(run({"data", "check", "--dta", "x"})),
            "espalier: unknown option '--dta'; did you mean '--data'?");
  EXPECT_EQ(run({"trian"}).code, kBadInput);
  EXPECT_EQ(run({}).code, kBadInput);
  EXPECT_EQ(run({"run"}).code, kBadInput);
  EXPECT_EQ(run({"run", "a.yaml", "b.yaml"}).code, kBadInput);
}

TEST(UsageTest, MessagesAreOneLine) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"run", "/nowhere.yaml"},
                                             {"info", "/nowhere"},
                                             {"report", "/nowhere"},
                                             {"compare", "/nowhere", "/else"},
                                             {"nothing"},
                                             {"train"}}) {
    const test::Ran ran = run(arguments);
    EXPECT_EQ(ran.code, kBadInput) << arguments[0];
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
    EXPECT_EQ(ran.out, "") << ran.out;
  }
}

TEST(UsageTest, WithJsonAnErrorIsAnObjectToo) {
  const test::Ran ran = run({"info", "/nowhere", "--json"});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_EQ(ran.json().at("exit_code"), kBadInput);
  EXPECT_NE(ran.json().at("error").get<std::string>().find("/nowhere"), std::string::npos);
  EXPECT_EQ(run({"train", "--no-such", "--json"}).json().at("exit_code"), kBadInput);
}

TEST(UsageTest, TheSchemaAsTextAndAsJson) {
  const test::Ran text = run({"recipe", "--schema"});
  EXPECT_EQ(text.code, kOk);
  EXPECT_NE(text.out.find("keep_macs"), std::string::npos);
  const Json json = run({"recipe", "--schema", "--json"}).json();
  EXPECT_EQ(json.at("recipe").at("data").at("keys").at("batch").at("type"), "integer");
  EXPECT_TRUE(json.at("stages").at("prune").at("keys").contains("keep_macs"));
}

TEST(UsageTest, ARecipeIsCheckedAndCompleted) {
  const test::Folder folder;
  std::ofstream(folder / "r.yaml") << "data: {root: x, batch: 8}\nstages: [train]\n";
  const Json json = run({"recipe", folder / "r.yaml", "--json", "--set", "train.epochs=3"}).json();
  EXPECT_EQ(json.at("data").at("batch"), 8);
  EXPECT_EQ(json.at("stages").at(0).at("train").at("epochs"), 3);
  EXPECT_EQ(json.at("stages").at(0).at("train").at("optimizer").at("momentum"), 0.9);

  std::ofstream(folder / "bad.yaml") << "data: {root: x}\nstagse: [train]\n";
  const test::Ran bad = run({"recipe", folder / "bad.yaml"});
  EXPECT_EQ(bad.code, kBadInput);
  EXPECT_EQ(bad.err,
            "espalier: " + (folder / "bad.yaml") + ":2: stagse: unknown key; did you mean 'stages'?\n");
}

TEST(UsageTest, TransformsAreListed) {
  EXPECT_NE(run({"data", "transforms"}).out.find("random_resized_crop"), std::string::npos);
  EXPECT_TRUE(run({"data", "transforms", "--json"}).json().contains("center_crop"));
}

TEST(UsageTest, CudaWithoutAGpuIsAnError) {
  if (kernels::cuda_available()) GTEST_SKIP() << "there is a GPU";
  const test::Folder folder;
  std::ofstream(folder / "r.yaml") << "data: {root: x}\ndevice: cuda\nstages: [train]\n";
  const test::Ran ran = run({"run", folder / "r.yaml", "--out", folder / "run"});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_NE(ran.err.find("device cuda:0: "), std::string::npos) << ran.err;
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
}

TEST(UsageTest, UnknownDevicesAreNamed) {
  const test::Folder folder;
  std::ofstream(folder / "r.yaml") << "data: {root: x}\ndevice: cuda:one\nstages: [train]\n";
  test::Ran ran = run({"run", folder / "r.yaml", "--out", folder / "run"});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_EQ(ran.err, "espalier: " + (folder / "r.yaml") +
                         ":2: device: is 'cuda:one'; expected auto, cpu, cuda or cuda:N\n");
  ran = run({"bench", "x.safetensors", "--device", "gpu"});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_NE(ran.err.find("is 'gpu'; expected auto, cpu, cuda or cuda:N"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace espalier
