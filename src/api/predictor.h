#pragma once
// Espalier in a program of one's own: a model file, ready for pictures. Installed: standard headers only.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tasks/prediction.h"

namespace espalier {

/// A picture in memory of the caller's, which is read during the call only: 8-bit RGB, rows from the top.
struct Pixels {
  int width = 0, height = 0;
  const std::uint8_t* rgb = nullptr;
  std::size_t row_bytes = 0;  ///< from one row to the next; 0: width * 3
};

struct PredictorOptions {
  std::string device = "auto";  ///< "auto" (a GPU that can be used, or else the CPU), "cpu", "cuda", "cuda:N"
  std::string precision = "tf32";  ///< of a GPU, for all of the process: "tf32", "fp32" or "bf16"
  int threads = 0;  ///< of a CPU, for one call; 0: as OpenMP gives the calling thread (OMP_NUM_THREADS)
  /// JSON, above the model file's: R"({"score_threshold": 0.3})". A recipe's `task:` has the keys.
  std::string task_options = {};
};

/// A model with all that its file says: preparing pictures, running the network, in FP32 or INT8, and reading
/// its outputs. `espalier predict` is made of it.
///
/// What the caller can fix, in the constructor and in calls, is thrown as std::runtime_error whose one line
/// says what is wrong, where, and what to do; a Predictor that threw can be used on. Warnings go to standard
/// error (ESPALIER_LOG=off: nowhere).
///
/// One caller at a time. On a CPU several Predictors may work in several threads, and the same picture gives
/// the same bits as long as the number of threads is the same; on a GPU, which is one for all of a process,
/// one works at a time.
class Predictor {
 public:
  /// Reads the file, which is not needed any more then.
  explicit Predictor(const std::filesystem::path& model, const PredictorOptions& options = {});
  ~Predictor();
  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;

  const std::string& task() const;                 ///< "classification", "detection" or "segmentation"
  const std::vector<std::string>& labels() const;  ///< a class's name at its number
  const std::string& device() const;               ///< "cpu" or "cuda"

  /// What the model sees on a picture of any size.
  Prediction predict(const Pixels& picture);
  /// The same for several pictures in one run of the network, in their order: faster than one by one, for
  /// memory that grows with their number. The two numbers of pictures used last stay prepared; another one
  /// takes a moment the first time. Empty for none.
  std::vector<Prediction> predict(std::span<const Pixels> pictures);
  /// A JPEG, PNG or BMP file, turned upright as its EXIF says; boxes and mask are the upright picture's.
  Prediction predict_file(const std::filesystem::path& picture);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espalier
