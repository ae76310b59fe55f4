#include "ops/autograd.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "ops/storage.h"
#include "tensor/grad_state.h"

namespace espalier {

namespace {

/// Adds `gradient` to what has arrived so far. Writes in place only where nobody else can see it.
void accumulate(Tensor& sum, Tensor&& gradient) {
  if (!sum.defined()) {
    sum = std::move(gradient);
    return;
  }
  if (!sum.sole_owner()) {
    if (gradient.sole_owner())
      std::swap(sum, gradient);
    else
      sum = sum.clone();
  }
  with_type(sum.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::add_into(sum.device(), sum.elements(), gradient.as<T>(), sum.as<T>());
  });
}

Tensor zeros_like(const Tensor& t) { return Tensor::zeros(t.shape(), t.device(), t.dtype()); }

void check(const GradNode& node, size_t input, const Tensor& gradient) {
  ESPALIER_CHECK(gradient.defined() && gradient.meta() == node.ctx.in[input].meta(), node.op->name(),
                 ": the gradient of input ", input, " is ",
                 gradient.defined() ? str(gradient.meta()) : "missing", ", but the input is ",
                 node.ctx.in[input].meta());
}

}  // namespace

GradNode::~GradNode() {
  // A chain of thousands of nodes would otherwise be destroyed by recursion. Nodes of which this is the last
  // holder are taken over and emptied one by one.
  std::vector<std::shared_ptr<GradNode>> pending;
  const auto take = [&pending](GradNode& node) {
    for (Edge& edge : node.edges)
      if (edge.node && edge.node.use_count() == 1) pending.push_back(std::move(edge.node));
    node.edges.clear();
  };
  take(*this);
  while (!pending.empty()) {
    const std::shared_ptr<GradNode> node = std::move(pending.back());
    pending.pop_back();
    take(*node);
  }
}

void backward(const Tensors& outputs, const Tensors& gradients) {
  const NoGrad no_grad;
  // Nodes by falling order number: every consumer of a node's output comes before the node.
  struct Pending {
    std::shared_ptr<GradNode> node;
    Tensors dy;
  };
  std::map<uint64_t, Pending, std::greater<>> queue;
  const auto deliver = [&queue](const std::shared_ptr<GradNode>& node, int output, Tensor gradient) {
    ESPALIER_CHECK(!node->ctx.out.empty(), node->op->name(),
                   ": backward ran through this call before; run forward again");
    Pending& p = queue[node->order];
    if (!p.node) {
      p.node = node;
      p.dy.resize(node->ctx.out.size());
    }
    accumulate(p.dy[output], std::move(gradient));
  };
  for (size_t i = 0; i < outputs.size(); ++i) {
    ESPALIER_CHECK(outputs[i].requires_grad(), "backward: output ", i,
                   " depends on nothing that requires a gradient");
    const auto& state = outputs[i].grad_state();
    if (state->node) deliver(state->node, state->output, gradients[i].clone());
  }
  while (!queue.empty()) {
    Pending p = std::move(queue.begin()->second);
    queue.erase(queue.begin());
    GradNode& node = *p.node;
    const Running place(node.place);
    const ZeroGradients zeros = node.op->zero_gradients();
    for (size_t i = 0; i < p.dy.size(); ++i)
      if (!p.dy[i].defined() && !(zeros.outputs >> i & 1)) p.dy[i] = zeros_like(node.ctx.out[i]);
    Tensors dx = node.op->backward(node.ctx, p.dy);
    p.dy.clear();
    for (size_t i = 0; i < node.edges.size(); ++i) {
      if (!node.ctx.needs_grad[i]) continue;
      if (!dx[i].defined() && zeros.inputs >> i & 1) {
        if (node.edges[i].node) continue;  // adding it would be a pass over memory
        dx[i] = zeros_like(node.ctx.in[i]);
      }
      check(node, i, dx[i]);
      if (node.edges[i].node) {
        deliver(node.edges[i].node, node.edges[i].output, std::move(dx[i]));
      } else {
        Tensor sum = node.leaves[i].grad();
        node.leaves[i].clear_grad();
        accumulate(sum, std::move(dx[i]));
        node.leaves[i].set_grad(sum);
      }
    }
    for (Tensors* kept : {&node.ctx.in, &node.ctx.out, &node.ctx.saved}) kept->clear();
  }
}

void backward(const Tensor& loss) {
  ESPALIER_CHECK(loss.elements() == 1, "backward: the loss has shape ", loss.shape(),
                 "; it must be one number");
  backward(Tensors{loss}, {Tensor::full(loss.shape(), 1.0f, loss.device())});
}

}  // namespace espalier
