// Every op by name: the only list of ops there is. A name X here needs `std::shared_ptr<Op> make_X()` in its
// file.

#include <algorithm>
#include <map>

#include "base/error.h"
#include "ops/op.h"

#define ESPALIER_OPS(X)         \
  X(activation)                 \
  X(add)                        \
  X(batch_norm)                 \
  X(cast)                       \
  X(concat)                     \
  X(conv2d)                     \
  X(depthwise_conv2d)           \
  X(dequantize)                 \
  X(dice_loss)                  \
  X(distillation_loss)          \
  X(dropout)                    \
  X(fake_quantize)              \
  X(global_avg_pool)            \
  X(linear)                     \
  X(max_pool)                   \
  X(normalize)                  \
  X(normed_conv2d)              \
  X(normed_depthwise_conv2d)    \
  X(quantize)                   \
  X(quantized_add)              \
  X(quantized_conv2d)           \
  X(quantized_depthwise_conv2d) \
  X(quantized_global_avg_pool)  \
  X(quantized_linear)           \
  X(quantized_max_pool)         \
  X(quantized_resize)           \
  X(resize)                     \
  X(sigmoid)                    \
  X(sigmoid_cross_entropy)      \
  X(softmax_cross_entropy)      \
  X(yolo_distillation_loss)     \
  X(yolo_loss)

namespace espalier {

#define DECLARE(op) std::shared_ptr<Op> make_##op();
ESPALIER_OPS(DECLARE)

namespace {
#define ENTRY(op) {#op, make_##op},
const std::map<std::string, std::shared_ptr<Op> (*)()>& table() {
  static const std::map<std::string, std::shared_ptr<Op> (*)()> ops = {ESPALIER_OPS(ENTRY)};
  return ops;
}
}  // namespace

std::shared_ptr<Op> make_op(const std::string& name) {
  const auto at = table().find(name);
  ESPALIER_CHECK(at != table().end(), "unknown op '", name, "'; was the file written by a newer version?");
  return at->second();
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : table()) names.push_back(name);
  return names;
}

}  // namespace espalier
