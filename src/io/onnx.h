#pragma once
// A model as an ONNX file, for other programs to run.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/model_file.h"
#include "kernels/pixels.h"

namespace espalier {

struct OnnxOptions {
  /// What makes the network's input of bytes. With it the file takes "pixels", uint8 [N,H,W,3], RGB at the
  /// network's size; without it "images", float32 [N,3,H,W], normalised already.
  std::optional<kernels::PixelScale> pixels;
  int batch = 0;  ///< pictures of a run; 0: any number, as long as the runtime takes that
  Json decoding;  ///< what the outputs mean, of the model's task (Task::decoding()), for the metadata
};

/// What goes into the file's network or comes out of it.
struct OnnxPort {
  std::string name, type;          ///< "pixels", "uint8"
  std::vector<std::string> shape;  ///< "N" for an open extent
};
struct OnnxSummary {
  OnnxPort input;
  std::vector<OnnxPort> outputs;  ///< "output", or "output_0" and so on; float32 [N,C] or [N,C,H,W]
  int nodes = 0;
};

/// Writes the network as it infers: norms folded, operator set 13. An INT8 model keeps its s8 filters, s32
/// biases and all scales, between QuantizeLinear and DequantizeLinear, where runtimes find what to run in
/// INT8. Task, labels, preprocessing, task options and lineage become metadata of the file. Written
/// atomically. Throws Error for ops that ONNX has not, for a file that cannot be written, and in a program
/// that was built without ONNX.
OnnxSummary save_onnx(const std::filesystem::path& path, const Model& model, const OnnxOptions& options = {});

/// Throws Error where save_onnx() would, for its being built without ONNX.
void check_onnx_is_built();

}  // namespace espalier
