#pragma once
// Read this first. An operation is one class that answers every question the system has about it; apply() is
// the one gate through which it runs. Autograd (ops/autograd.h) and tracing (graph/trace.h) hang on that gate
// and nowhere else.

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/team.h"
#include "ops/attributes.h"
#include "tensor/tensor.h"

namespace espalier {

class ChannelTies;
class OnnxNodes;

/// What one call of an op sees. forward() reads in and writes all of out; what backward() will need beyond
/// kept inputs goes into saved.
struct Ctx {
  Tensors in;
  Tensors out;
  Tensors saved;
  bool training = false;         ///< batch statistics, dropout
  std::vector<bool> needs_grad;  ///< in backward: which inputs want a gradient; the others may stay undefined

  Device device() const;
};

/// Which tensors a recorded call keeps alive for backward(). What is not kept arrives there without data.
struct Keep {
  uint32_t inputs = ~0u;  ///< bit i: input i
  uint32_t outputs = 0;   ///< bit i: output i
};

/// Gradients that are zero and that nobody has to write.
struct ZeroGradients {
  uint32_t inputs = 0;   ///< bit i: backward() may leave the gradient of input i undefined
  uint32_t outputs = 0;  ///< bit i: dy[i] may be undefined
};

/// A kernel bound to its shapes, weights and buffers: no allocation, no lookup, no check per call. Made by
/// Op::prepare() for a Session.
struct Prepared {
  virtual ~Prepared() = default;
  virtual void run() = 0;                             ///< may wake threads of its own
  virtual int64_t packed_bytes() const { return 0; }  ///< of weights in a layout of its own
};

/// A kernel that a team of threads can run together, each doing its share. A Session runs neighbouring ones
/// inside one parallel region.
struct CooperativePrepared : Prepared {
  /// Shares of one step run in any order, at once or one after another; all of them end before the next step
  /// begins.
  virtual int steps() const { return 1; }
  virtual void run(const kernels::Team& share) = 0;
  void run() final;  ///< all of it, with all threads
};

/// What an op gets to prepare itself for a Session: tensors at their final addresses. Parameters hold their
/// values; activations point into the arena (their contents mean nothing yet).
struct PrepareCtx {
  Tensors in;
  Tensors out;
  std::vector<bool> is_parameter;  ///< per input: constant, so it may be packed once
  /// Kept by the session for this item, null at first: what depends on parameters and attributes alone
  /// (packed weights) is made for the first input shape and found here for the others, for which input 1 need
  /// not have data any more.
  std::shared_ptr<void>* packed = nullptr;
};

/// One operation, with its attributes as fields. What must not be forgotten is pure virtual. No attribute may
/// hold a channel count: channel counts live in parameter shapes only.
struct Op {
  virtual ~Op() = default;
  virtual const char* name() const = 0;                     ///< the key of op_table.cpp
  virtual Metas infer(std::span<const Meta> in) const = 0;  ///< checks everything, returns the outputs'
  virtual void forward(Ctx&) const = 0;
  /// One gradient per input; assigns, never adds. A dy that has no other owner may be overwritten.
  virtual Tensors backward(Ctx&, std::span<const Tensor> dy) const = 0;
  virtual void channels(ChannelTies&) const = 0;  ///< which channels are removed together
  virtual void attributes(AttributeVisitor&) = 0;
  virtual int64_t macs(std::span<const Meta> in, std::span<const Meta> out) const = 0;  ///< 0 for cheap ops

  virtual Keep keep() const { return {}; }
  virtual ZeroGradients zero_gradients() const { return {}; }
  /// False for ops of inference graphs only (INT8); their backward() is no_gradient(*this).
  virtual bool differentiable() const { return true; }
  /// True if output 0 is a copy of input 0 outside training mode, so that inference graphs drop the op.
  virtual bool identity_in_inference() const { return false; }
  /// Bit i: input i, an activation, may be bf16 instead of f32; all of these are of one type then.
  virtual uint32_t may_be_bf16() const { return 0; }
  /// True if output 0 cannot be below zero, given which inputs cannot: INT8 then has codes without a sign for
  /// it, twice as fine.
  virtual bool never_negative([[maybe_unused]] const std::vector<bool>& inputs) const { return false; }
  /// The op that does the same to INT8 codes, whose scale all inputs and the output then share: for ops that
  /// move, choose or average. Null for the others, which run in FP32 in an INT8 graph.
  virtual std::shared_ptr<const Op> on_codes() const { return nullptr; }
  /// Writes the op as ONNX, in nodes over activations [N,C,H,W] (ops/onnx_nodes.h). The default throws Error:
  /// for losses, and for what trainings alone are made of.
  virtual void to_onnx(OnnxNodes&) const;
  /// The input whose memory output 0 may take in a Session, because forward() and prepared kernels read an
  /// element of it no later than they write the same element; -1 if there is none.
  virtual int overwrites() const { return -1; }
  /// The default runs forward() on the prepared tensors; ops with a fast path return a kernel of their own.
  virtual std::unique_ptr<Prepared> prepare(const PrepareCtx&) const;
};
using OpPtr = std::shared_ptr<const Op>;

/// What infer() asks first, since graphs come from files too: throws Error unless there are `count` inputs.
void check_count(const Op& op, std::span<const Meta> in, size_t count);
/// The same, and all of them f32.
void check_f32(const Op& op, std::span<const Meta> in, size_t count);

/// For ops that exist in inference graphs only; throws Error naming the op.
[[noreturn]] Tensors no_gradient(const Op& op);

/// Infers, allocates, runs, records. The only way an op is run outside a Session.
Tensors apply(const OpPtr& op, const Tensors& in);
/// The same for ops of one output.
Tensor apply1(const OpPtr& op, const Tensors& in);

/// While one lives on this thread, ops run in training mode: batch statistics, dropout.
class TrainingMode {
 public:
  explicit TrainingMode(bool on = true);
  ~TrainingMode();
  static bool on();

 private:
  bool outer_;
};

/// While one lives on this thread, nothing is recorded for gradients.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();

 private:
  bool outer_;
};

/// Watches apply(); graph/trace.h is the only implementation. While one is installed on this thread apply()
/// infers and reports, and computes nothing.
struct Tracer {
  virtual ~Tracer() = default;
  virtual void record(const OpPtr& op, const Tensors& in, const Tensors& out) = 0;
};
Tracer* install_tracer(Tracer* tracer);  ///< returns the previous one

/// Makes an op with default attributes by its name; throws Error for an unknown one. The table is
/// op_table.cpp.
std::shared_ptr<Op> make_op(const std::string& name);
std::vector<std::string> op_names();

}  // namespace espalier
