#include "kernels/concat.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "kernels/concat_prepared.h"
#include "kernels/reference_only.h"
#include "ops/channel_ties.h"
#include "ops/onnx_nodes.h"
#include "ops/ops.h"

namespace espalier {

namespace {

struct PreparedConcat final : CooperativePrepared {
  int rows;
  std::vector<kernels::ConcatPart> parts;
  char* to;

  using CooperativePrepared::run;
  void run(const kernels::Team& team) override { kernels::concat_prepared(rows, parts, to, team); }
};

/// See concat() in ops.h. In: any number of [N,H,W,Ci] of one type. Out: [N,H,W,sum of Ci].
struct Concat final : Op {
  const char* name() const override { return "concat"; }

  Metas infer(std::span<const Meta> in) const override {
    ESPALIER_CHECK(!in.empty(), "concat: there is nothing to join");
    Shape y = in[0].shape;
    for (size_t i = 0; i < in.size(); ++i)
      ESPALIER_CHECK(in[i].shape.axes() >= 1 && in[i].shape.elements() > 0, "concat: input ", i, " is ",
                     in[i], "; it must be [...,C], and no extent 0");
    for (size_t i = 1; i < in.size(); ++i) {
      Shape rest = in[i].shape, first = in[0].shape;
      ESPALIER_CHECK(rest.axes() == first.axes() && in[i].dtype == in[0].dtype, "concat: input ", i, " is ",
                     in[i], ", input 0 is ", in[0], "; they may differ in channels only");
      const int last = rest.axes() - 1;
      ESPALIER_CHECK(rest[last] <= std::numeric_limits<int>::max() - y[last], "concat: input ", i, " is ",
                     in[i], ", and there are ", y[last], " channels already; all of them are too many");
      y[last] += rest[last];
      rest[last] = first[last] = 0;
      ESPALIER_CHECK(rest == first, "concat: input ", i, " is ", in[i], ", input 0 is ", in[0],
                     "; they may differ in channels only");
    }
    return {{y, in[0].dtype}};
  }

  void forward(Ctx& c) const override {
    const Tensor& y = c.out[0];
    int first = 0;
    for (const Tensor& x : c.in) {
      kernels::copy_channels(y.device(), y.elements() / y.channels(), x.channels(), bytes_of(y.dtype()),
                             x.data(), x.channels(), 0, y.data(), y.channels(), first);
      first += x.channels();
    }
  }

  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    Tensors dx(c.in.size());
    int first = 0;
    for (size_t i = 0; i < c.in.size(); ++i) {
      const int channels = c.in[i].channels();
      if (c.needs_grad[i]) {
        dx[i] = Tensor(c.in[i].shape(), dy[0].device(), c.in[i].dtype());
        kernels::copy_channels(dy[0].device(), dx[i].elements() / channels, channels, bytes_of(dx[i].dtype()),
                               dy[0].data(), dy[0].channels(), first, dx[i].data(), channels, 0);
      }
      first += channels;
    }
    return dx;
  }

  void channels(ChannelTies& t) const override {
    int first = 0;
    for (int i = 0; i < t.inputs(); ++i) {
      const int count = t.extent(t.in(i));
      t.same(t.in(i), 0, t.out(), first, count);
      first += count;
    }
  }
  void attributes(AttributeVisitor&) override {}
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  Keep keep() const override { return {.inputs = 0}; }
  uint32_t may_be_bf16() const override { return ~0u; }
  bool never_negative(const std::vector<bool>& inputs) const override {
    return std::find(inputs.begin(), inputs.end(), false) == inputs.end();
  }
  std::shared_ptr<const Op> on_codes() const override { return std::make_shared<Concat>(); }
  void to_onnx(OnnxNodes& nodes) const override {
    std::vector<OnnxNodes::Name> in;
    for (int i = 0; i < nodes.inputs(); ++i) in.push_back(nodes.in(i));
    onnx_words::out_like_input(nodes, nodes.node("Concat", in, {{"axis", int64_t{1}}}));
  }

  std::unique_ptr<Prepared> prepare(const PrepareCtx& ctx) const override {
    const Tensor& y = ctx.out[0];
    if (y.device() != Device::kCpu || kernels::reference_only()) return Op::prepare(ctx);
    auto prepared = std::make_unique<PreparedConcat>();
    prepared->rows = static_cast<int>(y.elements() / y.channels());
    for (const Tensor& x : ctx.in)
      prepared->parts.push_back(
          {static_cast<const char*>(x.data()), int64_t{x.channels()} * bytes_of(x.dtype())});
    prepared->to = static_cast<char*>(y.data());
    return prepared;
  }
};

}  // namespace

std::shared_ptr<Op> make_concat() { return std::make_shared<Concat>(); }
Tensor concat(const Tensors& x) { return apply1(std::make_shared<Concat>(), x); }

}  // namespace espalier
