#include "ops/op.h"

#include <omp.h>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/storage.h"
#include "tensor/grad_state.h"

namespace espalier {

namespace {

thread_local bool training = false;
thread_local bool gradients = true;
thread_local Tracer* tracer = nullptr;
thread_local uint64_t calls = 0;

Metas metas(const Tensors& tensors) {
  Metas m;
  m.reserve(tensors.size());
  for (const Tensor& t : tensors) m.push_back(t.meta());
  return m;
}

/// What the node keeps of a tensor: its storage without its history, or only its shape.
Tensor kept(const Tensor& t, bool with_data) {
  return with_data && t.has_data() ? t.detached() : Tensor::without_data(t.meta(), t.device());
}

void record(const OpPtr& op, const Tensors& in, Ctx ctx) {
  auto node = std::make_shared<GradNode>();
  node->op = op;
  node->order = ++calls;
  node->place = running_place();
  const Keep keep = op->keep();
  for (size_t i = 0; i < in.size(); ++i) {
    const bool needs = in[i].requires_grad();
    ctx.needs_grad.push_back(needs);
    GradNode::Edge edge;
    Tensor leaf;
    if (needs && in[i].grad_state()->node)
      edge = {in[i].grad_state()->node, in[i].grad_state()->output};
    else if (needs)
      leaf = in[i];
    node->edges.push_back(std::move(edge));
    node->leaves.push_back(std::move(leaf));
    ctx.in[i] = kept(in[i], keep.inputs >> i & 1);
  }
  for (size_t i = 0; i < ctx.out.size(); ++i) {
    const auto& state = ctx.out[i].grad_state();
    state->node = node;
    state->output = static_cast<int>(i);
    ctx.out[i] = kept(ctx.out[i], keep.outputs >> i & 1);
  }
  node->ctx = std::move(ctx);
}

/// Runs forward() on fixed tensors.
struct PreparedForward final : Prepared {
  const Op& op;
  Ctx ctx;
  PreparedForward(const Op& op, const PrepareCtx& p) : op(op) { ctx.in = p.in, ctx.out = p.out; }
  void run() override { op.forward(ctx); }
};

}  // namespace

Device Ctx::device() const { return in.empty() ? Device::kCpu : in[0].device(); }

void CooperativePrepared::run() {
  const int threads = omp_get_max_threads();
  kernels::Relay relay;
  relay.reset(threads);
#pragma omp parallel num_threads(threads)
  relay.run(
      omp_get_thread_num(), steps(),
      [&](int step, int share) {
        run(kernels::Team{share, threads, step});
      },
      [](int) {});
}

std::unique_ptr<Prepared> Op::prepare(const PrepareCtx& ctx) const {
  return std::make_unique<PreparedForward>(*this, ctx);
}

void check_count(const Op& op, std::span<const Meta> in, size_t count) {
  ESPALIER_CHECK(in.size() == count, op.name(), ": ", in.size(), " inputs, ", count, " expected");
}

void check_f32(const Op& op, std::span<const Meta> in, size_t count) {
  check_count(op, in, count);
  for (size_t i = 0; i < in.size(); ++i)
    ESPALIER_CHECK(in[i].dtype == DType::kF32, op.name(), ": input ", i, " is ", in[i], "; expected f32");
}

void check_activations(const Op& op, std::span<const Meta> in, size_t count) {
  check_count(op, in, count);
  const uint32_t free = op.may_be_bf16();
  const DType type = count > 0 && in[0].dtype == DType::kBF16 ? DType::kBF16 : DType::kF32;
  for (size_t i = 0; i < in.size(); ++i) {
    const DType expected = free >> i & 1 ? type : DType::kF32;
    ESPALIER_CHECK(in[i].dtype == expected, op.name(), ": input ", i, " is ", in[i], "; expected ",
                   expected == DType::kF32 ? "f32" : "bf16, as input 0");
  }
}

Tensors no_gradient(const Op& op) {
  fail(str(op.name(), " has no gradient: it exists in inference graphs only"));
}

Tensors apply(const OpPtr& op, const Tensors& in) {
  for (size_t i = 0; i < in.size(); ++i) {
    ESPALIER_CHECK(in[i].defined(), op->name(), ": input ", i, " is undefined");
    ESPALIER_CHECK(in[i].device() == in[0].device(), op->name(), ": input 0 is on ", name(in[0].device()),
                   " but input ", i, " is on ", name(in[i].device()), "; move one of them");
  }
  const Metas out = op->infer(metas(in));
  const Device device = in.empty() ? Device::kCpu : in[0].device();
  if (tracer) {
    Tensors shells;
    for (const Meta& meta : out) shells.push_back(Tensor::without_data(meta, device));
    tracer->record(op, in, shells);
    return shells;
  }
  Ctx ctx;
  ctx.in = in;
  ctx.training = training;
  for (const Meta& meta : out) ctx.out.emplace_back(meta.shape, device, meta.dtype);
  op->forward(ctx);
  Tensors results = ctx.out;
  bool wants = false;
  for (const Tensor& t : in) wants = wants || t.requires_grad();
  if (gradients && wants) record(op, in, std::move(ctx));
  return results;
}

Tensor apply1(const OpPtr& op, const Tensors& in) { return std::move(apply(op, in)[0]); }

TrainingMode::TrainingMode(bool on) : outer_(training) { training = on; }
TrainingMode::~TrainingMode() { training = outer_; }
bool TrainingMode::on() { return training; }

NoGrad::NoGrad() : outer_(gradients) { gradients = false; }
NoGrad::~NoGrad() { gradients = outer_; }

Tracer* install_tracer(Tracer* t) {
  Tracer* previous = tracer;
  tracer = t;
  return previous;
}

}  // namespace espalier
