#pragma once
// What an op says of itself to be written as ONNX: nodes in the words of its operator set 13 (onnx.ai), over
// activations [N,C,H,W] where ours are [N,H,W,C]. io/onnx.h makes the file of it.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "kernels/activation.h"
#include "kernels/conv_shape.h"
#include "ops/op.h"

namespace espalier {

/// The item that is written, and where its nodes go.
class OnnxNodes {
 public:
  using Name = std::string;  ///< of a value in the file
  struct Attribute {
    const char* name;
    std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
  };

  virtual ~OnnxNodes() = default;

  virtual int inputs() const = 0;
  virtual const Meta& meta(int input) const = 0;
  virtual const Meta& out_meta() const = 0;
  virtual const Tensor& parameter(int input) const = 0;  ///< on the CPU
  virtual Name in(int input) = 0;            ///< an activation; of codes the real numbers that they stand for
  virtual float scale(int input) const = 0;  ///< of an activation that holds codes

  /// Constants, called after the item and `what`.
  virtual Name constant(const char* what, const Tensor& values) = 0;
  virtual Name number(const char* what, float value) = 0;  ///< without axes
  virtual Name integers(const char* what, const std::vector<int64_t>& values) = 0;
  /// A node with one output. An input without a name is left out.
  virtual Name node(const char* type, const std::vector<Name>& inputs,
                    const std::vector<Attribute>& attributes = {}) = 0;

  /// The op's output: these real numbers,
  virtual void out(const Name& real) = 0;
  /// or their codes at this scale, of the type that infer() says.
  virtual void out_codes(const Name& real, float scale) = 0;
};

namespace onnx_words {

using Name = OnnxNodes::Name;
using Attributes = std::vector<OnnxNodes::Attribute>;

/// Ends an op that moves or chooses: codes where input 0 holds them, with its scale.
void out_like_input(OnnxNodes& nodes, const Name& real);
/// act(x); x itself for none.
Name activated(OnnxNodes& nodes, Name x, Activation act);
/// x within the codes low .. high at this scale, as far as the output's type does not see to that itself.
/// (-128, which no code of ours is, is let pass: runtimes find their INT8 kernels by what stands before a
/// quantisation.)
Name within(OnnxNodes& nodes, const Name& x, int low, int high, float scale);
/// Filters [K,R,S,C] as [K,C,R,S], depthwise ones [R,S,C] as [C,1,R,S]; [K,C] as they are.
Tensor filters(const Tensor& w, bool depthwise);
/// Of Conv and MaxPool: extents of the window, stride, padding; of a depthwise Conv also its groups.
Attributes window(int rows, int columns, int stride, const Padding& pad, int groups = 0);

}  // namespace onnx_words
}  // namespace espalier
