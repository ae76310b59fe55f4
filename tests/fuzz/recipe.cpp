// Recipes; a last line "--set KEY=VALUE" is one from the command line.

#include "recipe/recipe.h"

#include "base/error.h"
#include "fuzz/target.h"

namespace espalier::test {

std::vector<std::string> seeds() {
  return {R"(model: {name: mobilenet_v2, width: 0.5}
data:
  root: pictures
  batch: 16
  transforms:
    eval: [{name: resize, width: 64, height: 64}, {name: normalize, mean: [0.5, 0.5, 0.5]}]
training: &all
  epochs: 4
  optimizer: {lr: 0.01}
  schedule: {name: piecewise, at: [0.5, 0.8]}
stages:
  - train: {name: baseline}
  - sensitivity: {from: baseline, ratios: [0.3, 0.5]}
  - prune: {name: cut, keep_macs: [0.5, 0.25]}
  - train: {name: pruned, distill: {from: baseline, weight: 0.5}}
  - int8: {from: baseline, keep_fp32: ["*head*"]}
  - bench
expect:
  baseline.top1: {min: 0.5}
--set training.epochs=3)"};
}

void read(const std::string& input) {
  const size_t at = input.rfind("\n--set ");
  const std::string text = input.substr(0, at);
  const Overrides overrides = at == std::string::npos ? Overrides() : Overrides{input.substr(at + 7)};
  try {
    make_recipe(parse_yaml(text, "recipe.yaml"), "recipe", overrides);
  } catch (const Error&) {
  }
}

}  // namespace espalier::test
