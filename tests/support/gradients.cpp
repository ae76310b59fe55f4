#include "support/gradients.h"

#include <algorithm>
#include <cmath>

#include "ops/autograd.h"
#include "support/random_tensor.h"

namespace espalier::test {

namespace {

constexpr float kStep = 1e-2f;

double weighted_sum(const Tensor& y, const std::vector<float>& r) {
  const std::vector<float> values = y.to_vector();
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += double{values[i]} * r[i];
  return sum;
}

}  // namespace

::testing::AssertionResult gradients_match(const std::function<Tensor()>& f, const Tensors& inputs,
                                           Tolerance tolerance, int most) {
  for (const Tensor& x : inputs) {
    x.set_requires_grad();
    x.clear_grad();
  }
  const Tensor y = f();
  const Tensor r = random_tensor(y.shape(), y.device(), 77);
  const std::vector<float> weights = r.to_vector();
  backward(Tensors{y}, Tensors{r});

  for (size_t n = 0; n < inputs.size(); ++n) {
    const Tensor& x = inputs[n];
    if (!x.grad().defined()) return ::testing::AssertionFailure() << "input " << n << " got no gradient";
    const std::vector<float> gradient = x.grad().to_vector(), values = x.to_vector();
    const size_t step = std::max<size_t>(1, values.size() / static_cast<size_t>(most));
    int moved = 0;
    for (size_t i = 0; i < values.size(); i += step) {
      std::vector<float> changed = values;
      double difference = 0;
      const NoGrad no_grad;
      for (const float side : {1.0f, -1.0f}) {
        changed[i] = values[i] + side * kStep;
        x.set(changed);
        difference += side * weighted_sum(f(), weights);
      }
      x.set(values);
      const double want = difference / (2 * kStep), error = std::abs(gradient[i] - want);
      if (!(error <= tolerance.relative * std::max(tolerance.floor, std::abs(want))))
        return ::testing::AssertionFailure()
               << "input " << n << " element " << i << " of " << values.size() << ": gradient " << gradient[i]
               << ", central difference " << want;
      moved += std::abs(want) > 1e-3;
    }
    if (moved == 0)
      return ::testing::AssertionFailure() << "untrusted: no element of input " << n << " moves the output";
  }
  return ::testing::AssertionSuccess();
}

}  // namespace espalier::test
