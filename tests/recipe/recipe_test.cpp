// What a recipe may say, and one line for everything it may not.

#include "recipe/recipe.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "recipe/stages.h"
#include "support/messages.h"
#include "support/shared.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

constexpr const char* kSmall = R"(model: {name: mobilenet_v2, width: 0.5}
data:
  root: pictures
  batch: 16
training:
  epochs: 4
  optimizer: {lr: 0.01}
stages:
  - train: {name: baseline}
  - train: {name: control, from: baseline, epochs: 2}
  - sensitivity: {from: baseline, ratios: [0.3, 0.5]}
  - prune: {name: cut, keep_macs: 0.5}
  - train: {name: pruned}
  - int8: {from: baseline}
  - bench
expect:
  baseline.top1: {min: 0.5}
  int8.top1_drop: {max: 0.01}
)";

Recipe recipe(const std::string& text, const Overrides& overrides = {}) {
  return make_recipe(parse_yaml(text, "r.yaml"), "r", overrides);
}

std::string error(const std::string& text, const Overrides& overrides = {}) {
  try {
    recipe(text, overrides);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

/// kSmall with one line replaced.
std::string with(const std::string& old_line, const std::string& new_line) {
  std::string text = kSmall;
  const size_t at = text.find(old_line);
  EXPECT_NE(at, std::string::npos) << old_line;
  return text.replace(at, old_line.size(), new_line);
}

TEST(RecipeTest, AliasesOfThemselvesAndOfMillionsOfValuesAreRefused) {
  test::expect_says(error("a: &a [*a]\n"), "r.yaml:1: there are more than");
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    text += str("a", i, ": &a", i, " [");
    for (int j = 0; j < 10; ++j) text += str(j ? ", " : "", "*a", i - 1);
    text += "]\n";
  }
  test::expect_says(error(text), "there are more than");
  EXPECT_EQ(error(with("  batch: 16", "  batch: &b 16\n  size: *b")), "no error");
}

TEST(RecipeTest, TextThatIsNoUtf8IsSaidWithItsLine) {
  test::expect_says(error(with("  root: pictures", "  root: caf\xE9")),
                    "r.yaml:3: 'caf\xE9' is no UTF-8 text");
  test::expect_says(error(with("  root: pictures", "  r\xF6t: pictures")),
                    "r.yaml:3: 'r\xF6t' is no UTF-8 text");
  test::expect_says(error(kSmall, {"data.root=\xFF"}), "--set data.root=\xFF: '\xFF' is no UTF-8 text");
  test::expect_says(error(kSmall, {"data.\xFF=1"}), "--set data.\xFF=1: expected KEY=VALUE");
}

TEST(RecipeTest, ReadsWhatItSaysAndFillsTheRest) {
  const Recipe r = recipe(kSmall);
  EXPECT_EQ(r.model.name, "mobilenet_v2");
  EXPECT_EQ(r.model.options.at("width"), 0.5);
  EXPECT_EQ(complete_spec(r.model).at("options").at("form"), "paper") << "the model fills the rest";
  EXPECT_EQ(r.data.batch, 16);
  EXPECT_EQ(r.data.size, 224);
  EXPECT_EQ(r.data.eval_transforms.at(0).at("name"), "resize_short");
  EXPECT_EQ(r.data.spec.on_error, OnError::kStop);
  ASSERT_EQ(r.stages.size(), 7u);
  EXPECT_EQ(r.find("baseline")->options.at("epochs"), 4);
  EXPECT_EQ(r.find("baseline")->options.at("optimizer").at("lr"), 0.01);
  EXPECT_EQ(r.find("baseline")->options.at("optimizer").at("momentum"), 0.9);
  EXPECT_EQ(r.find("control")->options.at("epochs"), 2);
  EXPECT_EQ(r.expect.at(1).quantity, "top1_drop");
  EXPECT_EQ(*r.expect.at(1).max, 0.01);
  EXPECT_FALSE(r.expect.at(1).min.has_value());
}

TEST(RecipeTest, ShowsTheModelsOwnOptionsAndReadsThemAgain) {
  for (const ModelEntry& entry : model_table()) {
    SCOPED_TRACE(entry.name);
    const auto read = [&](const Json& model) {
      return recipe("model: " + model.dump() + "\ndata: {root: pictures}\nstages: [train]\n");
    };
    const Recipe r = read({{"name", entry.name}});
    const Json& shown = r.complete.at("model");
    EXPECT_EQ(shown.size(), 3 + entry.options.size()) << shown.dump();
    for (const auto& [option, about] : entry.options.items()) {
      EXPECT_EQ(shown.at(option), about.at("default")) << option;
      for (const Json& value : about.value("values", Json::array()))
        EXPECT_EQ(read({{"name", entry.name}, {option, value}}).model.options.at(option), value);
    }
    const Recipe again = read(shown);
    EXPECT_EQ(again.complete.at("model"), shown);
    EXPECT_EQ(complete_spec(again.model), complete_spec(r.model));
  }
}

TEST(RecipeTest, StagesFindWhatTheyReadFrom) {
  const Recipe r = recipe(kSmall);
  EXPECT_EQ(r.find("baseline")->from, "scratch");
  EXPECT_EQ(r.find("control")->from, "baseline");
  EXPECT_EQ(r.find("cut")->options.at("sensitivity"), "sensitivity");
  EXPECT_EQ(r.find("cut")->from, "baseline") << "the model that the sensitivities were measured on";
  EXPECT_EQ(r.find("pruned")->from, "cut");
}

TEST(RecipeTest, OverridesReachSectionsAndStagesByName) {
  const Recipe r =
      recipe(kSmall, {"data.root=2024", "control.epochs=7", "training.optimizer.lr=0.5", "bench.rounds=2",
                      "model.padding=tensorflow", "baseline.schedule.at=[0.1]"});
  EXPECT_EQ(r.data.spec.root, "2024");
  EXPECT_EQ(r.find("control")->options.at("epochs"), 7);
  EXPECT_EQ(r.find("baseline")->options.at("optimizer").at("lr"), 0.5);
  EXPECT_EQ(r.find("bench")->options.at("rounds"), 2);
  EXPECT_EQ(r.model.options.at("padding"), "tensorflow");
  EXPECT_EQ(r.find("baseline")->options.at("schedule").at("at").size(), 1u);
  EXPECT_EQ(r.find("baseline")->options.at("schedule").at("gamma"), 0.1);
}

TEST(RecipeTest, TextOfAnOverrideNeedsNoQuotes) {
  const Recipe r =
      recipe(kSmall, {"data.images={split}2017", "data.train=*x*", "data.val=a: b", "data.labels=\"q\""});
  EXPECT_EQ(r.data.spec.images, "{split}2017");
  EXPECT_EQ(r.data.spec.train, "*x*");
  EXPECT_EQ(r.data.spec.val, "a: b");
  EXPECT_EQ(r.data.spec.labels, "q");
}

TEST(RecipeTest, AnOverrideOfAllTrainingsGoesAboveTheirOwnKeys) {
  Recipe r = recipe(kSmall, {"training.epochs=3"});
  EXPECT_EQ(r.find("baseline")->options.at("epochs"), 3);
  EXPECT_EQ(r.find("control")->options.at("epochs"), 3);
  EXPECT_EQ(r.document.notes,
            (std::vector<std::string>{"--set training.epochs=3: control takes it too, in place of its own"}));
  EXPECT_EQ(error(kSmall, {"training.epochs=0"}),
            "--set training.epochs=0: training.epochs: is 0; it must be in [1, 100000]");
  for (const Overrides& both : {Overrides{"training.epochs=3", "control.epochs=7"},
                                Overrides{"control.epochs=7", "training.epochs=3"}}) {
    r = recipe(kSmall, both);
    EXPECT_EQ(r.find("baseline")->options.at("epochs"), 3);
    EXPECT_EQ(r.find("control")->options.at("epochs"), 7) << "what is said of one stage goes above";
  }
  const std::string nested = with("epochs: 2}", "optimizer: {lr: 0.5, momentum: 0.8}}");
  for (const char* set : {"training.optimizer.lr=0.2", "training.optimizer={lr: 0.2}"}) {
    const Json optimizer = recipe(nested, {set}).find("control")->options.at("optimizer");
    EXPECT_EQ(optimizer.at("lr"), 0.2) << set;
    EXPECT_EQ(optimizer.at("momentum"), 0.8) << set;
  }
}

TEST(RecipeTest, OverridesReachBounds) {
  const Recipe r = recipe(kSmall, {"expect.baseline.top1.min=0.1", "expect.pruned.macs_share={max: 0.5}"});
  ASSERT_EQ(r.expect.size(), 3u);
  EXPECT_EQ(*r.expect.at(0).min, 0.1);
  EXPECT_EQ(r.expect.at(0).place, "r.yaml:17");
  EXPECT_EQ(r.expect.at(2).quantity, "macs_share");
  EXPECT_EQ(r.expect.at(2).place, "--set expect.pruned.macs_share={max: 0.5}");
  EXPECT_NE(error(kSmall, {"expect.baseline=0.1"}).find("expected stage.quantity"), std::string::npos);
}

TEST(RecipeTest, TheTimingOfAFileIsAStageToSet) {
  const test::TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "r.yaml";
  std::ofstream(file) << "data: {root: x}\nstages: [train]\n";
  const Recipe r = load_recipe(file, {"bench.seconds=0.1"});
  ASSERT_EQ(r.stages.size(), 2u);
  EXPECT_EQ(r.find("bench")->options.at("seconds"), 0.1);
  std::ofstream(file) << kSmall;
  EXPECT_EQ(load_recipe(file).stages.size(), 7u) << "there is one already";
}

TEST(RecipeTest, AWarmUpThatDoesNotFitIsCountedInEpochs) {
  const std::string warm = with("  optimizer: {lr: 0.01}", "  schedule: {name: cosine, warmup_epochs: 3}");
  EXPECT_EQ(error(warm, {"training.epochs=2"}),
            "r.yaml:9: stages.0.train: schedule.warmup_epochs is 3 but epochs is 2; set "
            "schedule.warmup_epochs");
  const std::string falls = with("  optimizer: {lr: 0.01}", "  schedule: {at: [0.5], warmup_epochs: 3}");
  EXPECT_EQ(
      error(falls),
      "r.yaml:9: stages.0.train: schedule.warmup_epochs is 3 but the rate falls first after 2 epochs; set "
      "schedule.warmup_epochs or schedule.at");
}

TEST(RecipeTest, OverridesAreCheckedLikeTheFile) {
  EXPECT_EQ(error(kSmall, {"data.bacth=3"}),
            "--set data.bacth=3: data.bacth: unknown key; did you mean 'batch'?");
  EXPECT_EQ(error(kSmall, {"data.batch=many"}),
            "--set data.batch=many: data.batch: is \"many\", expected an integer");
  EXPECT_EQ(error(kSmall, {"data.batch=0"}),
            "--set data.batch=0: data.batch: is 0; it must be in [1, 65536]");
  // What one key of a section says is not where the section's other keys stand.
  Document document;
  document.file = "command line";
  set_value(document, "data.format", "voc", "--set data.format=voc");
  EXPECT_EQ(document.place("data.format"), "--set data.format=voc");
  EXPECT_EQ(document.place("data"), "--set data.format=voc") << "who made the section";
  EXPECT_EQ(document.place("data.batch"), "command line");
  set_value(document, "data", "{format: coco}", "--set data={format: coco}");
  EXPECT_EQ(document.place("data.batch"), "--set data={format: coco}");
  EXPECT_EQ(error(kSmall, {"data.batch"}), "--set data.batch: expected KEY=VALUE, for example data.batch=16");
  EXPECT_EQ(error(kSmall, {"datta.batch=1"}),
            "--set datta.batch=1: datta: unknown key; did you mean 'data'?");
  EXPECT_EQ(error(kSmall, {"data.batch.x=1"}), "--set data.batch.x=1: data.batch is 16, which has no keys");
  EXPECT_EQ(error(kSmall, {"stages.9.train.epochs=1"}),
            "--set stages.9.train.epochs=1: stages is a list of 7; '9' is none of its indices");
  EXPECT_EQ(error(kSmall, {"data.batch=[1"}),
            "--set data.batch=[1: data.batch: is \"[1\", expected an integer");
}

TEST(RecipeTest, BoundsThatARunCouldNotCheckAreNoBounds) {
  const auto bound = [](const std::string& key) { return error(kSmall, {"expect." + key + "={min: 0}"}); };
  EXPECT_NE(bound("cut.top1").find("expect.cut.top1: 'cut' is no row of the table"), std::string::npos);
  for (const char* key : {"baseline.top1_drop", "baseline.macs_share", "baseline.speedup"})
    EXPECT_NE(bound(key).find("'baseline' is made from no other row of the table"), std::string::npos) << key;
  EXPECT_EQ(bound("pruned.speedup"), "no error");
  const auto timed = [](const std::string& models, const std::string& key) {
    return error(kSmall, {"bench.models=" + models, "expect." + key + "={min: 0}"});
  };
  EXPECT_NE(timed("[int8]", "pruned.latency_ms").find("'pruned' is not timed"), std::string::npos);
  EXPECT_NE(timed("[int8]", "int8.speedup").find("'baseline' is not timed"), std::string::npos);
  EXPECT_EQ(timed("[int8]", "int8.images_per_second"), "no error");
}

TEST(RecipeTest, UnknownKeyNamesLineAndNearest) {
  EXPECT_EQ(error(with("  batch: 16", "  btach: 16")),
            "r.yaml:4: data.btach: unknown key; did you mean 'batch'?");
  EXPECT_EQ(error(with("epochs: 2}", "epoch: 2}")),
            "r.yaml:10: stages.1.train.epoch: unknown key; did you mean 'epochs'?");
  EXPECT_EQ(error(with("  - bench", "  - bunch")),
            "r.yaml:15: stages.6.bunch: unknown kind of stage; did you mean 'bench'?");
  EXPECT_EQ(error(with("width: 0.5", "widht: 0.5")),
            "r.yaml:1: model.widht: unknown key; did you mean 'width'?");
  EXPECT_EQ(error(with("baseline.top1: ", "baseline.top2: ")),
            "r.yaml:17: expect.baseline.top2: unknown quantity 'top2'; did you mean 'top1'?");
  EXPECT_EQ(
      error(with("baseline.top1: ", "basline.top1: ")),
      "r.yaml:17: expect.basline.top1: 'basline' is no stage that makes a model; did you mean 'baseline'?");
}

TEST(RecipeTest, AKeyNearNothingGetsTheListOfKeys) {
  EXPECT_EQ(error(with("{min: 0.5}", "{wxyzq: 0.5}")),
            "r.yaml:17: expect.baseline.top1.wxyzq: unknown key; known are min, max");
}

TEST(RecipeTest, WrongTypesAndImpossibleValues) {
  EXPECT_EQ(error(with("  batch: 16", "  batch: [16]")),
            "r.yaml:4: data.batch: is [16], expected an integer");
  EXPECT_EQ(error(with("  batch: 16", "  batch: 1.5")), "r.yaml:4: data.batch: is 1.5, expected an integer");
  EXPECT_EQ(error(with("  batch: 16", "  cache: lots")),
            "r.yaml:4: data.cache: is \"lots\", expected bytes such as 512MB");
  EXPECT_EQ(error(with("lr: 0.01", "lr: 0")),
            "r.yaml:7: training.optimizer.lr: is 0; it must be in (0, 100]");
  EXPECT_EQ(
      error(with("lr: 0.01", "name: sdg")),
      "r.yaml:7: training.optimizer.name: is \"sdg\"; it must be one of sgd, adamw; did you mean 'sgd'?");
  EXPECT_EQ(error(with("[0.3, 0.5]", "[0.3, 1.5]")),
            "r.yaml:11: stages.2.sensitivity.ratios.1: is 1.5; it must be in [0.01, 0.99]");
  EXPECT_EQ(error(with("data:", "seed: -1\ndata:")), "r.yaml:2: seed: is -1; it must be at least 0");
  EXPECT_EQ(error(with("  root: pictures\n", "")),
            "r.yaml:2: data: 'root' is missing: the data set's folder");
  EXPECT_EQ(error(with("{max: 0.01}", "0.01")),
            "r.yaml:18: expect.int8.top1_drop: is 0.01, expected {min: x}, {max: y} or both");
  EXPECT_EQ(error(with("{min: 0.5}", "{min: 0.5, max: 0.4}")),
            "r.yaml:17: expect.baseline.top1: min 0.5 is above max 0.4");
}

TEST(RecipeTest, StagesThatCannotWork) {
  EXPECT_EQ(error("data: {root: x}\nstages: []\n"),
            "r.yaml:2: stages: there is no stage; say at least '- train'");
  EXPECT_EQ(error("data: {root: x}\nstages:\n  - int8\n").substr(0, 73),
            "r.yaml:3: stages.0.int8: needs a model, and no stage before it makes one;");
  EXPECT_EQ(error("data: {root: x}\nstages:\n  - evaluate: {name: imported, from: scratch}\n  - int8\n"),
            "no error");
  EXPECT_EQ(error(with("{name: baseline}", "{name: control}")).substr(0, 63),
            "r.yaml:10: stages.1.train: two stages are called 'control'; giv");
  EXPECT_EQ(error(with("from: baseline, epochs", "from: pruned, epochs")),
            "r.yaml:10: stages.1.train.from: 'pruned' is no earlier stage that makes a model; known are "
            "scratch, baseline");
  EXPECT_EQ(error(with("keep_macs: 0.5", "keep_macs: 0.5, tolerance: 0.1")),
            "r.yaml:12: stages.3.prune: more than one of tolerance, keep_macs, keep_parameters, keep_bytes, "
            "keep_latency and latency_ms is given; say exactly one");
  EXPECT_EQ(error(with(", keep_macs: 0.5", "")),
            "r.yaml:12: stages.3.prune: none of tolerance, keep_macs, keep_parameters, keep_bytes, "
            "keep_latency and latency_ms is given; say exactly one");
  EXPECT_EQ(error(with("keep_macs: 0.5", "keep_bytes: 0.5")), "no error");
  EXPECT_EQ(error(with("keep_macs: 0.5", "latency_ms: 0")),
            "r.yaml:12: stages.3.prune.latency_ms: is 0; it must be more than 0");
  EXPECT_EQ(error(with("from: baseline, epochs", "distill: {from: baseline}, epochs")), "no error");
  EXPECT_EQ(
      error(with("from: baseline, epochs", "distill: {from: better}, epochs")),
      "r.yaml:10: stages.1.train.distill.from: 'better' is no earlier stage that makes a model; known are "
      "baseline");
  EXPECT_EQ(
      error(with("from: baseline, epochs", "distill: {weight: 0.5}, epochs")),
      "r.yaml:10: stages.1.train.distill: says no teacher; name an earlier stage or a model file: {from: "
      "baseline}");
  EXPECT_EQ(error(with("from: baseline, epochs", "distill: {from: baseline, weight: 0}, epochs")),
            "r.yaml:10: stages.1.train.distill.weight: is 0; it must be in (0, 1]");
  EXPECT_EQ(error(with("int8: {from: baseline}", "int8: {from: baseline, finetune: {epochs: 1}}")),
            "no error");
  EXPECT_EQ(error(with("int8: {from: baseline}",
                       "int8: {from: baseline, finetune: {epochs: 1}, paddlex_compat: true}")),
            "r.yaml:14: stages.5.int8.finetune: learns scales, which paddlex_compat takes from histograms; "
            "leave one "
            "of them out");
  EXPECT_EQ(error(with("{name: cut,", "{name: ../cut,")),
            "r.yaml:12: stages.3.prune.name: '../cut' is no name for a stage; use letters, digits, _ and -");
  EXPECT_NE(error(with("{name: cut,", "{name: DEFAULT,")).find("'DEFAULT' is no name"), std::string::npos);
  EXPECT_EQ(
      error(with("  - bench", "  - bench\n  - bench: {name: second}")),
      "r.yaml:16: stages.7.bench: a run has one bench stage, and there is one before; put both into one");
}

TEST(RecipeTest, MultiplesOfChannelsMayBeAuto) {
  EXPECT_EQ(recipe(with("keep_macs: 0.5", "keep_macs: 0.5, keep_multiple_of: auto"))
                .find("cut")
                ->options.at("keep_multiple_of"),
            "auto");
  EXPECT_EQ(error(with("keep_macs: 0.5", "keep_macs: 0.5, keep_multiple_of: all")),
            "r.yaml:12: stages.3.prune.keep_multiple_of: is \"all\", expected an integer or auto");
  EXPECT_EQ(error(with("keep_macs: 0.5", "keep_macs: 0.5, keep_multiple_of: 0")),
            "r.yaml:12: stages.3.prune.keep_multiple_of: is 0; it must be in [1, 1024]");
}

TEST(RecipeTest, BrokenFiles) {
  EXPECT_EQ(error("data: {root: x\nstages: [").substr(0, 25), "r.yaml:2: not valid YAML:");
  EXPECT_EQ(error("just words"), "r.yaml:1: this is no recipe: expected 'key: value' lines");
  EXPECT_EQ(error("seed: 1\nseed: 2\n"), "r.yaml:2: seed is given twice; remove one");
  EXPECT_EQ(error(""), "r.yaml: data: 'root' is missing: the data set's folder");
  EXPECT_THROW(load_recipe("/nowhere/r.yaml"), Error);
}

/// A value that the key does not have by itself.
Json another(const Key& key) {
  if (key.kind == Key::Kind::kBoolean) return !key.fallback.get<bool>();
  if (key.kind == Key::Kind::kNumbers) return Json::array({0.25});
  for (const std::string& choice : key.choices)
    if (choice != key.fallback) return choice;
  return key.fallback == 0.25 ? 0.5 : 0.25;
}

TEST(RecipeTest, EveryKeyOfOptimizerAndScheduleReachesTheTraining) {
  Json options = recipe(kSmall).find("baseline")->options;
  options["schedule"]["at"] = {0.75};
  const TrainOptions plain = train_options(options);
  for (const Key& section : find_stage_kind("train")->keys) {
    if (section.name != "optimizer" && section.name != "schedule") continue;
    for (const Key& key : section.keys) {
      Json changed = options;
      changed[section.name][key.name] = another(key);
      const TrainOptions got = train_options(changed);
      EXPECT_FALSE(got.optimizer == plain.optimizer && got.schedule == plain.schedule)
          << section.name << "." << key.name << " is read by nobody";
    }
  }
}

TEST(RecipeTest, ShippedOnesAreFoundByName) {
  test::TemporaryDirectory folder;
  std::filesystem::copy_file(test::source_path("recipes/quickstart.yaml"), folder.path() / "ours.yaml");
  ::setenv("ESPALIER_RECIPES", folder.path().c_str(), 1);
  EXPECT_EQ(load_recipe("ours").name, "ours");
  EXPECT_EQ(test::message_of([] { load_recipe("our"); }),
            "our: there is no such file, and no such recipe in " + folder.path().string() +
                "; did you mean 'ours'?");
  // What names a file is one.
  EXPECT_EQ(test::message_of([] { load_recipe("./ours"); }), "./ours: there is no such file");
  EXPECT_EQ(test::message_of([] { load_recipe("ours.yaml"); }), "ours.yaml: there is no such file");
  ::unsetenv("ESPALIER_RECIPES");
}

TEST(RecipeTest, TheSchemaDocumentsEveryKey) {
  const std::function<void(const std::vector<Key>&)> check = [&](const std::vector<Key>& keys) {
    for (const Key& key : keys) {
      EXPECT_FALSE(key.help.empty()) << key.name;
      if (key.kind == Key::Kind::kSection) check(key.keys);
      // A default must itself be allowed.
      if (!key.fallback.is_null() && key.kind != Key::Kind::kOpen) {
        Document document;
        document.root = Json{{key.name, key.fallback}};
        EXPECT_NO_THROW(check_section(document, "", document.root, {key})) << key.name;
      }
    }
  };
  check(recipe_keys());
  for (const StageKind& kind : stage_kinds()) check(kind.keys);
  const std::string text = describe(recipe_keys());
  EXPECT_NE(text.find("batch:"), std::string::npos);
  EXPECT_EQ(to_json(recipe_keys()).at("data").at("keys").at("batch").at("default"), 32);
}

TEST(RecipeTest, TheFormatDecidesTheTransforms) {
  const auto of = [](const std::string& data) {
    return recipe("model: {name: unet}\ndata: {root: p, " + data + "}\nstages: [train]\n").data;
  };
  const DataSection voc = of("format: voc, size: 96"),
                    coco = of("format: coco, images: \"{split}2017\", size: 96"),
                    masks = of("format: segmentation_list, size: 96");
  EXPECT_EQ(voc.train_transforms.at(0).at("name"), "mixup");
  EXPECT_EQ(voc.eval_transforms, coco.eval_transforms);
  EXPECT_EQ(voc.eval_transforms.at(0).at("filter"), "bicubic");
  EXPECT_EQ(coco.spec.images, "{split}2017");
  EXPECT_EQ(masks.eval_transforms.at(1).at("name"), "pad");
  // The network's size is one of those that a batch may have.
  const std::string scales =
      "format: voc, size: 96, transforms: {train: [{name: multi_scale_resize, sizes: [";
  EXPECT_EQ(of(scales + "64, 96]}, normalize]}").train_transforms.at(0).at("filter"), "random");
  EXPECT_NE(error("data: {root: p, " + scales + "32, 64]}, normalize]}}\nstages: [train]\n")
                .find("data.transforms.train: gives 64x64 but data.size is 96; make them equal"),
            std::string::npos);
  EXPECT_NE(error("data: {root: p, format: vocc}\nstages: [train]\n").find("did you mean 'voc'?"),
            std::string::npos);
}

TEST(RecipeTest, TaskOptionsBelongToTheModelsTask) {
  const std::string yolo = R"(model: {name: yolov3_mobilenet_v1}
data: {format: voc, root: pictures, size: 320}
task:
  map_rule: area
  keep_top_k: 50
stages: [train]
)";
  EXPECT_EQ(recipe(yolo).task_options, (Json{{"keep_top_k", 50}, {"map_rule", "area"}}));
  EXPECT_EQ(recipe(yolo, {"task.map_rule=coco"}).task_options.at("map_rule"), "coco");
  EXPECT_TRUE(recipe(kSmall).task_options.empty());
  EXPECT_EQ(error(yolo, {"task.map_rules=coco"}),
            "--set task.map_rules=coco: task.map_rules: unknown key; did you mean 'map_rule'?");
  EXPECT_NE(error(yolo, {"task.losses=[dice]"}).find("task: detection: unknown option 'losses'"),
            std::string::npos);
  EXPECT_NE(error(yolo, {"task.anchors=[[1, 2, 3]]"}).find("task: detection: anchors is [[1,2,3]]"),
            std::string::npos);
  EXPECT_NE(error(kSmall, {"task.map_rule=area"}).find("classification: unknown option 'map_rule'"),
            std::string::npos);
  const std::string unet =
      "model: {name: unet}\ndata: {format: segmentation_list, root: p, size: 64}\n"
      "stages: [train]\ntask: {class_weights: ";
  EXPECT_EQ(recipe(unet + "dynamic}").task_options.at("class_weights"), "dynamic");
  EXPECT_EQ(recipe(unet + "[1, 2, 3]}").task_options.at("class_weights").size(), 3u);
  EXPECT_EQ(error(unet + "often}"),
            "r.yaml:4: task: segmentation: class_weights is \"often\"; expected a list, or dynamic");
}

TEST(RecipeTest, TransformsAreCheckedWithTheirLine) {
  const std::string list = "  batch: 16\n  transforms:\n    eval: ";
  EXPECT_EQ(
      error(with("  batch: 16", list + "[{name: center_corp}]")),
      "r.yaml:6: data.transforms.eval[0]: unknown transform 'center_corp'; did you mean 'center_crop'?");
  EXPECT_NE(error(with("  batch: 16", list + "[{name: resize_short, size: 256}, {name: normalize}]"))
                .find("the size of the result depends on the picture"),
            std::string::npos);
  EXPECT_NE(error(with("  batch: 16", list + "[{name: resize, width: 64, height: 64}, {name: normalize}]"))
                .find("gives 64x64 but data.size is 224"),
            std::string::npos);
}

TEST(BytesTest, Units) {
  EXPECT_EQ(parse_bytes("7"), 7);
  EXPECT_EQ(parse_bytes("512MB"), 512 << 20);
  EXPECT_EQ(parse_bytes("2 gb"), 2ll << 30);
  EXPECT_EQ(parse_bytes("1TB"), -1);
  EXPECT_EQ(parse_bytes("-1"), -1);
  EXPECT_EQ(parse_bytes(""), -1);
}

}  // namespace
}  // namespace espalier
