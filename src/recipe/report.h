#pragma once
// What the page of a run shows, collected from the files of its folder.

#include <filesystem>
#include <vector>

#include "base/json.h"
#include "compress/select.h"
#include "recipe/stages.h"

namespace espalier {

struct ReportOptions {
  /// Evaluation pictures that every variant looks at, to find those worth showing; 0: no example predictions.
  int64_t pictures = 64;
  /// Seconds to time each of the networks along the trade-off curve; 0: no latency there.
  double seconds = 0.2;
};

/// Everything the page of one run needs: result.json, training curves, sensitivities, what tolerances keep,
/// cuts, INT8 errors, confusion matrices, examples, and which of these are missing and what would make them.
/// What takes time is kept in the folder, in trade_off.json and examples.json, and made again when the
/// models, the device or the number of threads are others. Throws Error when the folder holds no result, or a
/// file in it is damaged.
Json report_data(const std::filesystem::path& run, const ReportOptions& options = {});

/// Writes the page of one run, or of several side by side, as one HTML file. Throws Error as report_data()
/// does, and for runs whose metrics differ.
void write_report(const std::vector<std::filesystem::path>& runs, const std::filesystem::path& file,
                  const ReportOptions& options = {});

/// A recipe with the data and the task of a run, from its recipe.json. Throws Error when there is none.
Recipe data_of_run(const std::filesystem::path& run);

/// One JSON file of a run. Throws Error naming it when it is damaged, or not of this format and version.
Json read_run_file(const std::filesystem::path& file, const std::string& format = "");

/// What `tolerances` keep of a network, in their order: {"groups": [{"name", "channels"}], "before", "steps":
/// [{"tolerance", "kept", "parameters", "macs", "bytes", "predicted_loss"}]}, by the same rule as a prune
/// stage with these options. With `seconds` some of the steps, different in size, are pruned and timed side
/// by side at batch 1 on `device`: "ms" is the median.
Json trade_off(const Graph& graph, const Sensitivity& sensitivity, SelectOptions options,
               const std::vector<double>& tolerances, double seconds, Device device);

/// How far predictions on one picture are apart, 0 .. 1: the largest difference of any from the first. Of
/// classes: whether the likeliest is another; of boxes: the share without a partner of their class at IoU >
/// 0.5, among those with a score of 0.5 or more; of masks: the share of pixels that differ, among those that
/// either takes for more than background.
double disagreement(const std::vector<Prediction>& predictions);

/// Predictions of the variants (name -> model file) on at most `pictures` of the list val, and the dozen
/// pictures worth showing: those first where variants disagree, then in a reproducible order.
/// {"task", "list", "looked_at", "disagreements", "variants": [names],
/// "legend": [{"label", "color"}, {"label": null, "name": "ignored", "color"} where pixels are], "pictures":
/// [{"name", "image", "width", "height", "truth", "disagree": share, "variants": [...]}]}; images are data
/// URIs.
Json example_predictions(Workbench& bench,
                         const std::vector<std::pair<std::string, std::filesystem::path>>& variants,
                         int64_t pictures);

}  // namespace espalier
