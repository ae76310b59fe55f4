// The table of everything a recipe may say.

#include <thread>

#include "base/error.h"
#include "compress/calibrate.h"
#include "compress/criterion.h"
#include "io/model_file.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "recipe/recipe.h"

namespace espalier {

namespace {

using Kind = Key::Kind;

constexpr double kAny = std::numeric_limits<double>::infinity();

Key open_low(Key key) {
  key.low_open = true;
  return key;
}

Key open_high(Key key) {
  key.high_open = true;
  return key;
}

Key required(Key key) {
  key.required = true;
  return key;
}

Key list(Kind kind, std::string name, Json fallback, double low, double high, std::string help) {
  Key key = of_kind(kind, std::move(name), std::move(fallback), std::move(help));
  key.low = low;
  key.high = high;
  return key;
}

/// An option of a model as a key.
Key option_key(const std::string& name, const Json& about) {
  const Json& fallback = about.at("default");
  const std::string help = about.value("description", "");
  if (about.contains("values"))
    return choice(name, fallback, about.at("values").get<std::vector<std::string>>(), help);
  if (fallback.is_boolean()) return boolean(name, fallback, help);
  if (fallback.is_number()) return number(name, fallback, -kAny, kAny, help);
  return text(name, fallback, help);
}

/// Adds what another model says of an option of the same name; each model checks what it gets.
void widen(Key& key, const Key& other) {
  ESPALIER_CHECK(key.kind == other.kind && key.choices.empty() == other.choices.empty(), "model option '",
                 key.name, "': models mean different types by it; give one of them another name");
  for (const std::string& value : other.choices)
    if (std::find(key.choices.begin(), key.choices.end(), value) == key.choices.end())
      key.choices.push_back(value);
  if (key.fallback == other.fallback) return;
  if (!key.fallback.is_null()) key.help += "; the default is the model's";
  key.fallback = nullptr;
}

/// The models' own options become keys of the `model:` section.
std::vector<Key> model_keys() {
  std::vector<std::string> names;
  for (const ModelEntry& entry : model_table()) names.push_back(entry.name);
  std::vector<Key> keys = {
      choice("name", "mobilenet_v2", names, "the network"),
      integer("classes", nullptr, 1, 100000,
              "outputs of the classifier; by default as many as the data have"),
      text("weights", nullptr,
           "pretrained weights: safetensors in torchvision's names, or a model file of this program"),
  };
  for (const ModelEntry& entry : model_table())
    for (const auto& item : entry.options.items()) {
      const Key own = option_key(item.key(), item.value());
      const auto known =
          std::find_if(keys.begin(), keys.end(), [&](const Key& key) { return key.name == own.name; });
      if (known == keys.end())
        keys.push_back(own);
      else
        widen(*known, own);
    }
  return keys;
}

std::vector<Key> make_keys() {
  return {
      integer("classes", nullptr, 2, 15,
              "kinds: of 15 vegetables (image_list, image_folder) or 6 insects (voc), by default 6; a fundus "
              "(segmentation_list) has 2"),
      integer("train", 60, 1, 100000, "images; of vegetables: of each class"),
      integer("val", 20, 1, 100000, "images; of vegetables: of each class"),
      integer("test", 20, 0, 100000, "images; of vegetables: of each class"),
      integer("size", 96, 16, 4096, "pixels of the longer side"),
      integer("seed", 1, 0, kAny, "of the drawings"),
  };
}

std::vector<Key> data_keys() {
  return {
      choice(
          "format", "image_list", dataset_formats(),
          "classification: image_list (lines of 'path label' and labels.txt) or image_folder (one folder a "
          "class); detection: voc (lines of 'image annotation.xml' and labels.txt) or coco (JSON); "
          "segmentation: segmentation_list (lines of 'image mask.png' and labels.txt)"),
      required(text("root", nullptr, "the data set's folder")),
      text("train", nullptr,
           "list (train_list.txt), JSON file (train.json) or folder (train) of the training images"),
      text("val", nullptr, "list (val_list.txt), JSON file or folder (val) of the evaluation images"),
      text("test", nullptr,
           "list (test_list.txt), JSON file or folder (test) that nothing is chosen by; may be absent"),
      text("labels", nullptr, "lists: class names, one a line (labels.txt); coco: by default its categories"),
      text("images", nullptr,
           "coco: the folder of the images (images, and beside the JSON file); {split} in it is train, val "
           "or test"),
      open_high(
          number("val_share", 0.2, 0, 1, "image_folder without train and val: share of a class for val")),
      open_high(
          number("test_share", 0.0, 0, 1, "image_folder without train and val: share of a class for test")),
      integer("size", 224, 16, kLargestInput, "side of the network's input in pixels"),
      integer("batch", 32, 1, 65536, "images a step; evaluation uses it too"),
      section("transforms",
              {of_kind(Kind::kOpen, "train", nullptr,
                       "list of transforms; by default what the task is usually trained with"),
               of_kind(Kind::kOpen, "eval", nullptr,
                       "by default resize short and centre crop; detection: a stretch; segmentation: resize "
                       "long and pad")},
              "lists of {name: ..., arguments}, see `espalier data transforms`"),
      of_kind(Kind::kBytes, "cache", "0", "decoded images kept in memory, such as 2GB"),
      choice("on_error", "stop", {"stop", "skip"},
             "unreadable images and bad boxes: list them and stop, or go without"),
      section("make", make_keys(), "pictures to draw into root when it does not exist"),
  };
}

/// What each task knows of these it checks itself; none is given by default.
std::vector<Key> task_keys() {
  return {
      of_kind(Kind::kOpen, "anchors", nullptr,
              "detection: list of [width, height] in pixels of the network's picture; YOLOv3's nine"),
      of_kind(Kind::kOpen, "anchor_masks", nullptr,
              "detection: each head's anchors by number, [[6, 7, 8], [3, 4, 5], [0, 1, 2]]"),
      list(Kind::kIntegers, "strides", nullptr, 1, 1024, "detection: pixels a cell of each head; 32, 16, 8"),
      number("ignore_threshold", nullptr, 0, 1,
             "detection: predictions that overlap an object by more are no negatives in the loss; 0.7"),
      boolean("label_smooth", nullptr, "detection: smooth the class targets of the loss"),
      number("score_threshold", nullptr, 0, 0.999, "detection: what does not exceed it is no object; 0.01"),
      number("nms_threshold", nullptr, 0, 1,
             "detection: of two boxes of a class that overlap by more, the better stays; 0.45"),
      integer("nms_top_k", nullptr, 1, 1000000,
              "detection: boxes of a class that enter the suppression; 1000"),
      integer("keep_top_k", nullptr, 1, 1000000, "detection: boxes of a picture that stay; 100"),
      choice("map_rule", nullptr, {"voc11", "area", "coco"},
             "detection: VOC's 11 points (the default) or area, at IoU 0.5; coco: 0.50 to 0.95"),
      of_kind(Kind::kTexts, "losses", nullptr,
              "segmentation: cross_entropy (the default), or dice, bce or both for a single logit"),
      of_kind(Kind::kOpen, "class_weights", nullptr,
              "one a class; segmentation also knows dynamic: rare classes of a batch weigh more"),
      boolean("paddlex_compat", nullptr,
              "the reference's metric: corners that are pixels and forgotten batches in detection; absent "
              "classes "
              "that count and label maps enlarged by the nearest pixel in segmentation"),
  };
}

std::vector<Key> training_keys() {
  return {
      integer("epochs", 10, 1, 100000, "passes over the training images"),
      integer("batch", nullptr, 1, 65536, "images a step; data.batch by default"),
      section(
          "optimizer",
          {choice("name", "sgd", optimizer_names(), "sgd has momentum"),
           open_low(number("lr", 0.025, 0, 100, "learning rate")),
           open_high(number("momentum", 0.9, 0, 1, "sgd")),
           number("weight_decay", 1e-4, 0, 1, "per step; coupled: added to the gradient"),
           boolean("decoupled", false, "sgd: decay the weights themselves, as adamw always does"),
           boolean("decay_norms", true, "decay scales and shifts of norms too"),
           boolean("decay_biases", true, "decay biases too"), open_high(number("beta1", 0.9, 0, 1, "adamw")),
           open_high(number("beta2", 0.999, 0, 1, "adamw")), open_low(number("eps", 1e-8, 0, 1, "adamw"))},
          "how a step moves the parameters"),
      section(
          "schedule",
          {choice("name", "piecewise", schedule_names(), "of the learning rate"),
           list(Kind::kNumbers, "at", nullptr, 0, kAny,
                "piecewise: where it falls, increasing; by default at 50 % and 80 % of the run"),
           choice("unit", "run", {"run", "epochs", "steps"}, "of `at`; run: shares of it, 0.5 is its middle"),
           open_low(number("gamma", 0.1, 0, 1, "piecewise: by which factor")),
           number("power", 0.9, 0, 10, "polynomial"),
           number("end", 0.0, 0, 1, "polynomial, cosine: last value, as share of lr"),
           number("warmup_epochs", 0.0, 0, 1000, "linear from warmup_start to lr"),
           number("warmup_start", 0.0, 0, 1, "as share of lr")},
          "how the learning rate falls"),
      open_high(number("label_smoothing", 0.0, 0, 1, "share of a target spread over all classes")),
      list(Kind::kNumbers, "class_weights", nullptr, 0, kAny, "one a class"),
      open_high(number("ema", 0.0, 0, 1, "decay of the averaged weights that are evaluated; 0 is off")),
      number("clip", 0.0, 0, kAny, "largest norm of all gradients together; 0 is off"),
      section("early_stop",
              {integer("patience", 0, 0, 100000, "evaluations without improvement that end it; 0: never"),
               number("threshold", 1e-4, 0, 1, "what counts as an improvement of the metric")},
              "ends a training that no longer improves"),
      integer("evaluate_every", 1, 1, 100000, "epochs"),
      choice("keep", "best", {"best", "last"},
             "which model goes on: the best on val, or that of the last epoch"),
  };
}

std::vector<std::string> criteria() {
  std::vector<std::string> names;
  for (const CriterionEntry& entry : criterion_table()) names.push_back(entry.name);
  return names;
}

std::vector<std::string> calibrators() {
  std::vector<std::string> names;
  for (const CalibratorEntry& entry : calibrator_table()) names.push_back(entry.name);
  names.push_back("auto");
  return names;
}

Key name_key() { return text("name", nullptr, "of the stage; the kind by default"); }
Key from_key() {
  return text("from", nullptr, "the stage whose model it reads (the one before), a model file, or 'scratch'");
}

/// Of one stage only: what a whole recipe learns from would have to come before all of it.
Key distill_key() {
  return section(
      "distill",
      {text("from", nullptr, "the teacher: an earlier stage or a model file; without it there is none"),
       open_low(
           number("weight", 0.5, 0, 1, "w in (1 - w) * (the task's loss) + w * (distance from the teacher)")),
       open_low(number("temperature", 4.0, 0, 1000, "what logits are divided by before they are compared"))},
      "learns from a better network's outputs too, such as the unpruned one's (Hinton et al., 2015)");
}

std::vector<Key> train_keys() {
  std::vector<Key> keys = training_keys();
  keys.push_back(distill_key());
  return keys;
}

std::vector<Key> with_common(std::vector<Key> keys) {
  keys.insert(keys.begin(), {name_key(), from_key()});
  return keys;
}

}  // namespace

std::vector<Key> recipe_keys() {
  const double cores = std::max(1u, std::thread::hardware_concurrency());
  return {
      section("model", model_keys(), "the network and where its weights come from"),
      section("data", data_keys(), "images and what is done to them"),
      section("task", task_keys(), "options of loss, decoding and metric; model files carry them"),
      integer("seed", 1, 0, kAny, "of everything random"),
      integer("threads", 0, 0, std::max(1024.0, cores), "0: all cores, or OMP_NUM_THREADS"),
      text("device", "auto",
           "auto, cpu, cuda or cuda:N (GPU N); auto takes a GPU that can be used, and says which"),
      choice("precision", "tf32", {"tf32", "fp32", "bf16"},
             "of what the GPU's dense convolutions multiply; sums, weights, norms, losses and the optimizer "
             "are fp32 in any case. The CPU computes in fp32"),
      section("training", training_keys(),
              "what all train stages share; a stage's own keys win, but not over --set training.KEY"),
      of_kind(Kind::kOpen, "stages", nullptr, "list of stages, each 'kind: {keys}'"),
      of_kind(Kind::kOpen, "expect", nullptr,
              "bounds checked at the end: 'stage.quantity: {min: x, max: y}'"),
  };
}

const std::vector<StageKind>& stage_kinds() {
  static const std::vector<StageKind> kinds = {
      {"train", "trains a network, new or read", true, true, with_common(train_keys())},
      {"sensitivity", "how much each group of channels matters", true, false,
       with_common({
           list(Kind::kNumbers, "ratios", Json::array({0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}), 0.01,
                0.99, "shares of a group's channels to remove"),
           integer("images", nullptr, 1, kAny,
                   "evaluate on so many images only, drawn once with the classes in their proportions"),
           number("stop_loss", 0.5, 0, 1, "a curve ends with its first point whose loss is larger"),
           choice("list", "val", {"train", "val"}, "which images"),
           choice("criterion", "l1", criteria(),
                  "which channels go first; l1: least sum of magnitudes in the first layer of a group"),
           integer("criterion_images", 512, 1, kAny,
                   "of the training list, for a criterion that looks at pictures (taylor)"),
           choice("groups", "all", {"all", "reference"},
                  "which may go; reference: those that the reference can prune in this network"),
           of_kind(Kind::kTexts, "include", nullptr, "only groups with a layer that matches (* and ?)"),
           of_kind(Kind::kTexts, "exclude", nullptr, "no group with a layer that matches (* and ?)"),
           of_kind(Kind::kBytes, "memory", "1GB", "of activations kept between the groups"),
       })},
      {"prune", "removes channels, by sensitivities", true, true,
       with_common({
           text("sensitivity", nullptr,
                "a sensitivity stage (the one before), a JSON file, or DEFAULT: the file shipped for the "
                "model"),
           open_low(
               number("keep_macs", nullptr, 0, 1,
                      "share of the multiply-accumulates to keep at most; a list of this or any budget makes "
                      "one stage of each, and of what reads them")),
           open_low(number("keep_parameters", nullptr, 0, 1, "share of the parameters to keep at most")),
           open_low(number("keep_bytes", nullptr, 0, 1, "share of the parameters' bytes to keep at most")),
           open_low(
               number("keep_latency", nullptr, 0, 1,
                      "share of the latency at batch 1 to keep at most, by a table of the layers' times on "
                      "this machine")),
           open_low(
               number("latency_ms", nullptr, 0, kAny, "milliseconds at batch 1, at most; by that table")),
           number("tolerance", nullptr, 0, 1, "largest loss of a single group (the reference's rule)"),
           text("share_of", nullptr,
                "the stage or model file that keep_macs, keep_parameters and keep_bytes are shares of; by "
                "default "
                "what is cut"),
           integer("rounds", 1, 1, 20,
                   "cut in so many steps to the budget, trained and measured anew between them"),
           integer("round_epochs", nullptr, 1, kAny, "of the trainings between rounds; default 1"),
           choice(
               "rule", "tolerance", {"tolerance", "greedy", "uniform"},
               "for a budget; tolerance: each group loses as much of the metric as the others; greedy: "
               "again and again the cut that adds least to the evaluation loss for what it saves; uniform: "
               "the same share of every group, to compare with"),
           choice("criterion", nullptr, criteria(),
                  "which channels of a group go first; by default what the sensitivities were measured with"),
           list(
               Kind::kIntegerOrAuto, "keep_multiple_of", 8, 1, 1024,
               "channels left are a multiple: whole vectors; auto: what this machine's kernels take at once, "
               "half of it for groups of fewer than four"),
           integer("min_channels", 8, 1, 65536, "least width of a group"),
           open_high(number("max_ratio", 0.9, 0, 1, "largest share of one group to remove")),
           choice("groups", "all", {"all", "reference"},
                  "which may go; reference: those that the reference can prune in this network"),
           of_kind(Kind::kTexts, "include", nullptr, "only groups with a layer that matches (* and ?)"),
           of_kind(Kind::kTexts, "exclude", nullptr, "no group with a layer that matches (* and ?)"),
           boolean("refine", true,
                   "measure the points that decide again on all images, where the stage of the sensitivities "
                   "took a "
                   "part of them"),
           integer("recalibrate", 10, 0, 100000,
                   "training batches to measure the norms' statistics anew on; 0: none"),
       })},
      {"int8", "converts from FP32 to INT8", true, true,
       with_common({
           choice("calibrator", "percentile", calibrators(),
                  "how the range of an activation is chosen; auto: by the measured metric"),
           number("percentile", 99.99, 50, 100, "of the magnitudes, for the calibrator of that name"),
           boolean("bias_correction", true, "make up for what rounding filters moves mean outputs by"),
           integer("calibration_batches", 32, 1, 100000, "batches the ranges are measured on"),
           choice("list", "train", {"train", "val"}, "which images; always with the evaluation's transforms"),
           choice("weights", "per_channel", {"per_channel", "per_tensor"},
                  "one scale a filter or one a layer"),
           of_kind(Kind::kTexts, "keep_fp32", nullptr,
                   "items that stay FP32 (* and ?); outputs: the layers that the network ends in"),
           choice(
               "equalize", "none", {"none", "exact", "without_caps"},
               "even out channels across layers; exact leaves those before a ReLU6 alone, without_caps makes "
               "it a ReLU"),
           choice("rounding", "nearest", {"nearest", "optimised"},
                  "of filters; optimised: so that each layer's outputs change least"),
           number("max_drop", nullptr, 0, 1,
                  "largest fall of the metric, 0.005 is half a point: layers go back to FP32, worst first, "
                  "until it holds"),
           choice("measure_on", "val", {"train", "val"}, "images that auto, max_drop and layer_metrics use"),
           integer("measure_images", nullptr, 1, kAny,
                   "so many of them, a reproducible choice; by default all"),
           boolean("layer_metrics", false,
                   "measure the metric with each layer alone in INT8; max_drop does it where it must"),
           section("finetune",
                   {integer("epochs", 0, 0, 100000, "0: none"),
                    open_low(number("lr", 0.0005, 0, 100, "learning rate at first; it falls as a cosine")),
                    integer("batch", nullptr, 1, 65536, "images a step; data.batch by default"),
                    number("teacher", 0.5, 0, 1,
                           "how much of the loss is the distance from the FP32 network's outputs")},
                   "trains filters, biases and scales with the rounding in the network, when nothing else "
                   "keeps the metric"),
           boolean("paddlex_compat", false, "signed codes everywhere and the reference's KL"),
       })},
      {"export", "writes a model as ONNX, for other runtimes", true, false,
       with_common({
           choice("format", "onnx", {"onnx"}, "of the file"),
           choice(
               "input", "pixels", {"pixels", "normalized"},
               "pixels: bytes [N,H,W,3], RGB at the network's size, which the file normalises; normalized: "
               "float32 [N,3,H,W], normalised by whoever runs it"),
           integer("batch", 0, 0, 65536, "pictures of a run; 0: any number"),
       })},
      {"evaluate",
       "takes a model as it is: a row of the table; from scratch: the recipe's, with model.weights", true,
       true, with_common({})},
      {"bench",
       "times every variant",
       false,
       false,
       {name_key(), of_kind(Kind::kTexts, "models", nullptr, "stages to time; all variants by default"),
        integer("batch", 32, 1, 4096, "for images a second; latency is at batch 1"),
        open_low(number("seconds", 1.0, 0, 600, "of timing, per variant and batch size")),
        integer("rounds", 5, 1, 1000, "turns in which the variants take that time, one after another")}},
  };
  return kinds;
}

const StageKind* find_stage_kind(const std::string& name) {
  for (const StageKind& kind : stage_kinds())
    if (kind.name == name) return &kind;
  return nullptr;
}

}  // namespace espalier
