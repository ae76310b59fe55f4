#include "ops/normed_conv.h"

#include <utility>

#include "base/error.h"
#include "ops/channel_ties.h"
#include "ops/conv2d.h"
#include "ops/convolution.h"
#include "ops/norm_parts.h"
#include "ops/ops.h"
#include "ops/storage.h"

namespace espalier {

namespace {

constexpr NormInputs kNorm{2};

bool any(const Ctx& c, std::initializer_list<int> inputs) {
  for (int i : inputs)
    if (c.needs_grad[static_cast<size_t>(i)]) return true;
  return false;
}

int64_t rows_of(const Tensor& t) { return t.elements() / t.channels(); }

}  // namespace

kernels::ConvShape NormedConvolution::shape_of(const Shape& x, const Shape& w) const {
  if (depthwise()) return {x[0], x[1], x[2], x[3], x[3], w[0], w[1], stride, pad};
  return {x[0], x[1], x[2], x[3], w[0], w[1], w[2], stride, pad};
}

Metas NormedConvolution::infer(std::span<const Meta> in) const {
  check_activations(*this, in, has_norm ? 7 : 2);
  // The plain convolution has the checks of x and w.
  const auto plain = [&](auto op) {
    op.stride = stride;
    op.pad = pad;
    const Meta floats[] = {{in[0].shape}, in[1]};
    return op.infer(floats)[0];
  };
  const Meta y = {(depthwise() ? plain(DepthwiseConv2d()) : plain(Conv2d())).shape, in[0].dtype};
  if (has_norm) check_norm(*this, norm, in, kNorm, in[0].shape.back());
  Metas out = {y};
  if (measures) out.push_back({Shape{2, y.shape.back()}, DType::kF32});
  return out;
}

void NormedConvolution::forward(Ctx& c) const {
  const auto s = shape_of(c.in[0].shape(), c.in[1].shape());
  kernels::InputNorm input;
  if (has_norm) {
    save_norm(norm, c, kNorm, rows_of(c.in[0]));
    input = saved_norm(norm, c);
  }
  with_type(c.in[0].dtype(), [&]<class T>(std::type_identity<T>) {
    (depthwise() ? kernels::normed_depthwise_forward<T>
                 : kernels::normed_conv2d_forward<T>)(c.device(), s, c.in[0].as<T>(), input, c.in[1].f32(),
                                                      c.out[0].as<T>(), measures ? c.out[1].f32() : nullptr);
  });
}

Tensors NormedConvolution::backward(Ctx& c, std::span<const Tensor> dy) const {
  const Tensor &x = c.in[0], &w = c.in[1];
  const Device device = dy[0].device();
  Tensors dx(c.in.size());
  MomentsGradient moments;
  if (measures) moments = moments_gradient(dy[1], rows_of(c.out[0]));
  kernels::InputNorm input;
  Tensor sums;
  if (has_norm) {
    input = saved_norm(norm, c);
    sums = Tensor({2, x.channels()}, device);
  }
  // The norm's own gradients are sums over dx.
  if (c.needs_grad[0] || (has_norm && any(c, {kNorm.moments(), kNorm.scale(), kNorm.shift()})))
    dx[0] = Tensor(x.shape(), device, x.dtype());
  if (c.needs_grad[1]) dx[1] = Tensor(w.shape(), device);
  with_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::OutputGradient<T> gradient{.g = dy[0].as<T>()};
    if (moments.slope.defined()) {
      gradient.y = c.out[0].as<T>();
      gradient.constant = moments.constant.f32();
      gradient.slope = moments.slope.f32();
      gradient.mean = c.out[1].f32();  // its first row
      if (dy[0].sole_owner()) gradient.room = dy[0].as<T>();
    }
    (depthwise()
         ? kernels::normed_depthwise_backward<T>
         : kernels::normed_conv2d_backward<T>)(device, shape_of(x.shape(), w.shape()), x.as<T>(), input,
                                               w.f32(), gradient,
                                               {.dx = data_or_null<T>(dx[0]),
                                                .sums = dx[0].defined() ? data_or_null<float>(sums) : nullptr,
                                                .dw = data_or_null<float>(dx[1])});
  });
  if (has_norm && dx[0].defined()) norm_gradients(c, kNorm, sums, dx);
  return dx;
}

void NormedConvolution::attributes(AttributeVisitor& v) {
  v.visit("stride", stride);
  visit_padding(v, pad);
  v.visit("has_norm", has_norm);
  v.visit("measures", measures);
  norm.visit(v);
}

int64_t NormedConvolution::macs(std::span<const Meta> in, std::span<const Meta> out) const {
  const Shape& w = in[1].shape;
  return out[0].shape.elements() * (depthwise() ? w[0] * w[1] : w.elements() / w[0]);
}

Keep NormedConvolution::keep() const { return {.inputs = 3, .outputs = measures ? 3u : 0u}; }

namespace {

void tie_norm(ChannelTies& t, NormInputs at) {
  for (int i = at.moments(); i <= at.variance(); ++i) t.same(t.in(0), t.in(i));
}

}  // namespace

void NormedConv2d::channels(ChannelTies& t) const {
  t.same(t.in(0), t.in(1, 3));
  t.same(t.in(1, 0), t.out());
  if (has_norm) tie_norm(t, kNorm);
  if (measures) t.same(t.out(), t.out(1));
}

void NormedDepthwiseConv2d::channels(ChannelTies& t) const {
  t.same(t.in(0), t.in(1));
  t.same(t.in(0), t.out());
  if (has_norm) tie_norm(t, kNorm);
  if (measures) t.same(t.out(), t.out(1));
}

std::shared_ptr<Op> make_normed_conv2d() { return std::make_shared<NormedConv2d>(); }
std::shared_ptr<Op> make_normed_depthwise_conv2d() { return std::make_shared<NormedDepthwiseConv2d>(); }

// --- normalize
// ----------------------------------------------------------------------------------------------

namespace {
constexpr NormInputs kNormalizeNorm{1};
}

Metas Normalize::infer(std::span<const Meta> in) const {
  check_activations(*this, in, has_residual ? 7 : 6);
  ESPALIER_CHECK(in[0].shape.axes() >= 1 && in[0].shape.elements() > 0, "normalize: x is ", in[0].shape,
                 "; it must be [...,C], and no extent 0");
  check_norm(*this, norm, in, kNormalizeNorm, in[0].shape.back());
  if (has_residual)
    ESPALIER_CHECK(in[6].shape == in[0].shape, "normalize: residual is ", in[6].shape, ", x is ", in[0].shape,
                   "; both must be equal");
  return {in[0]};
}

void Normalize::forward(Ctx& c) const {
  const Tensor& x = c.in[0];
  save_norm(norm, c, kNormalizeNorm, rows_of(x));
  with_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::normalize_forward<T>(c.device(), rows_of(x), x.channels(), x.as<T>(), saved_norm(norm, c),
                                  has_residual ? c.in[6].as<T>() : nullptr, c.out[0].as<T>());
  });
}

Tensors Normalize::backward(Ctx& c, std::span<const Tensor> dy) const {
  const Tensor& x = c.in[0];
  Tensors dx(c.in.size());
  dx[0] = like(x);
  const Device device = x.device();
  const Tensor sums({2, x.channels()}, device);
  const bool linear = norm.act.is_none();
  if (has_residual && c.needs_grad[6]) dx[6] = linear ? dy[0] : like(x);
  const kernels::InputNorm parts = saved_norm(norm, c);
  with_type(x.dtype(), [&]<class T>(std::type_identity<T>) {
    // A GPU finds the activation's place from x, which it reads anyway, sooner than by reading y as well.
    const bool by_y = !linear && (has_residual || device == Device::kCpu);
    const T* y = by_y ? c.out[0].as<T>() : nullptr;
    T* dresidual = has_residual && !linear ? data_or_null<T>(dx[6]) : nullptr;
    const int64_t rows = rows_of(x);
    const int channels = x.channels();
    if (!whole) {
      kernels::normalize_backward<T>(device, rows, channels, x.as<T>(), parts, y, dy[0].as<T>(),
                                     dx[0].as<T>(), sums.f32(), dresidual);
      return norm_gradients(c, kNormalizeNorm, sums, dx);
    }
    kernels::normalize_sums<T>(device, rows, channels, x.as<T>(), parts, y, dy[0].as<T>(), sums.f32());
    norm_gradients(c, kNormalizeNorm, sums, dx);
    const MomentsGradient rest =
        moments_gradient(std::exchange(dx[static_cast<size_t>(kNormalizeNorm.moments())], {}), rows);
    kernels::normalize_backward_x<T>(device, rows, channels, x.as<T>(), parts, y, dy[0].as<T>(),
                                     {data_or_null<float>(rest.constant), data_or_null<float>(rest.slope)},
                                     dx[0].as<T>(), dresidual);
  });
  return dx;
}

void Normalize::channels(ChannelTies& t) const {
  tie_norm(t, kNormalizeNorm);
  t.same(t.in(0), t.out());
  if (has_residual) t.same(t.in(6), t.out());
}

void Normalize::attributes(AttributeVisitor& v) {
  norm.visit(v);
  v.visit("has_residual", has_residual);
  v.visit("whole", whole);
}

Keep Normalize::keep() const { return {.inputs = 1, .outputs = norm.act.is_none() ? 0u : 1u}; }

std::shared_ptr<Op> make_normalize() { return std::make_shared<Normalize>(); }

}  // namespace espalier
