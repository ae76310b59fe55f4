#include "recipe/recipe.h"
#include "base/error.h"
#include "cli/command.h"

namespace espalier {

namespace {

std::string schema_text() {
  std::string text = describe(recipe_keys());
  text += "\nStages. Each may be named; `from` says whose model it reads.\n";
  for (const StageKind& kind : stage_kinds())
    text += "\n- " + kind.name + ": " + kind.help + "\n" + describe(kind.keys, 4);
  text +=
      "\nA key may hold no other than its values: what is unknown, of the wrong type or out of range is an "
      "error.\n";
  return text;
}

Json schema_json() {
  Json json = {{"recipe", to_json(recipe_keys())}, {"stages", Json::object()}};
  for (const StageKind& kind : stage_kinds())
    json["stages"][kind.name] = {{"help", kind.help}, {"keys", to_json(kind.keys)}};
  return json;
}

struct Options {
  std::string file;
  std::vector<std::string> overrides;
  bool schema = false;
};

}  // namespace

Command add_recipe(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("recipe", "check a recipe and print it with every default, or the keys");
  app->add_option("RECIPE", options->file, "a YAML file, or the name of a shipped one");
  app->add_option("--set", options->overrides, "KEY=VALUE, as for run")->take_all()->allow_extra_args(false);
  app->add_flag("--schema", options->schema, "print every key a recipe may have");
  return {app, [options](const Output& output) -> int {
            if (options->schema) {
              output.text(schema_text());
              output.object(schema_json());
              return kOk;
            }
            ESPALIER_CHECK(!options->file.empty(), "name a recipe to check, or say --schema for the keys");
            const Recipe recipe = load_recipe(options->file, options->overrides);
            Json complete = recipe.complete;
            complete["stages"] = Json::array();
            for (const StageSpec& stage : recipe.stages) {
              Json keys = {{"name", stage.name}};
              if (!stage.from.empty()) keys["from"] = stage.from;
              keys.update(stage.options);
              complete["stages"].push_back(Json{{stage.kind, keys}});
            }
            output.text(complete.dump(2));
            output.object(complete);
            return kOk;
          }};
}

}  // namespace espalier
