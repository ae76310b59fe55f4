#include "passes/fuse_training.h"

#include "ops/activation.h"
#include "ops/add.h"
#include "ops/batch_norm.h"

namespace espalier {

namespace {

/// The only reader of a value that nothing else uses, or -1.
int sole_consumer(const Graph& g, int value) {
  const std::vector<int> readers = g.consumers(value);
  return readers.size() == 1 && g.uses(value) == 1 ? readers[0] : -1;
}

/// Takes the op after item `n` into it; false if there is none that fits.
bool absorb(Graph& g, int n) {
  Graph::Item& norm = g.items[n];
  const int next = sole_consumer(g, norm.out[0]);
  if (next < 0) return false;
  Graph::Item& follower = g.items[next];
  auto op = std::make_shared<BatchNorm>(*norm.as<BatchNorm>());
  if (!op->act.is_none()) return false;  // the activation comes last
  if (const auto* activation = follower.as<ActivationOp>()) {
    op->act = activation->act;
  } else if (follower.as<Add>() && !op->has_residual) {
    op->has_residual = true;
    norm.in.push_back(follower.in[0] == norm.out[0] ? follower.in[1] : follower.in[0]);
  } else {
    return false;
  }
  norm.op = op;
  norm.out = follower.out;
  // The residual may be made between the two, so the fused item runs where the follower ran.
  Graph::Item fused = std::move(norm);
  g.items[next] = std::move(fused);
  g.items.erase(g.items.begin() + n);
  return true;
}

}  // namespace

int fuse_training(Graph& g) {
  int fused = 0;
  for (int n = 0; n < static_cast<int>(g.items.size());) {
    if (g.items[n].as<BatchNorm>() && absorb(g, n))
      ++fused;  // the same place may now hold another item: look again
    else
      ++n;
  }
  g.compact();
  g.verify();
  return fused;
}

}  // namespace espalier
