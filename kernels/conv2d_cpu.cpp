// Dense convolution by oneDNN, on NHWC activations in place. Pointwise convolutions are matrix products over
// [N*H*W, C].

#include "kernels/conv2d_cpu.h"

#include <omp.h>

#include "kernels/normed_conv_cpu.h"

#ifdef ESPALIER_HAS_ONEDNN

#include <algorithm>
#include <cstring>
#include <dnnl.hpp>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace espalier::kernels {

namespace {

using dnnl::memory;

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream s(engine());
  return s;
}

enum class Kind { kForward, kBackwardX, kBackwardW };

/// A convolution prepared for one problem, and how its filters travel between [K,R,S,C] and what oneDNN
/// picked.
struct Convolution {
  dnnl::primitive primitive;
  dnnl::reorder reorder;  ///< of the filters; empty if they lie right
  memory::desc x, w, ours, y;
  memory packed;  ///< the filters in oneDNN's layout, if that differs
  bool reorders = false;
  bool turned = false;  ///< a backward pass by x that runs as a forward one, see turns()
};

/// Without stride dx is the convolution of dy with the filters turned by half a circle and transposed, and
/// oneDNN's forward pass is half as fast again as its backward one. Small maps are not worth turning filters
/// for.
bool turns(const ConvShape& s) {
  return s.stride == 1 && s.R > s.pad.top && s.R > s.pad.bottom && s.S > s.pad.left && s.S > s.pad.right &&
         int64_t{s.N} * s.H * s.W >= 1024;
}

struct Key {
  Kind kind;
  ConvShape shape;
  int threads;  ///< oneDNN plans for a number of threads
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& k) const {
    return fnv1a(&k.shape, sizeof k.shape) * 31 + static_cast<size_t>(k.kind) * 7 + k.threads;
  }
};

Convolution make(const Key& key) {
  const ConvShape& s = key.shape;
  constexpr auto f32 = memory::data_type::f32;
  Convolution c;
  c.x = memory::desc({s.N, s.C, s.H, s.W}, f32, memory::format_tag::nhwc);
  c.y = memory::desc({s.N, s.K, s.P(), s.Q()}, f32, memory::format_tag::nhwc);
  c.ours = memory::desc({s.K, s.C, s.R, s.S}, f32, memory::format_tag::ohwi);
  const memory::desc any({s.K, s.C, s.R, s.S}, f32, memory::format_tag::any);
  const memory::dims strides = {s.stride, s.stride}, before = {s.pad.top, s.pad.left},
                     after = {s.pad.bottom, s.pad.right};
  constexpr auto direct = dnnl::algorithm::convolution_direct;
  const dnnl::convolution_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, direct, c.x, any, c.y, strides, before, after}, engine());
  switch (key.kind) {
    case Kind::kForward:
      c.primitive = dnnl::convolution_forward(forward);
      c.w = forward.weights_desc();
      break;
    case Kind::kBackwardX: {
      if (turns(s)) {
        c.turned = true;
        // Of a [K,R,S,C] buffer, read as filters [C,K,R,S].
        const int64_t tap = s.C, line = tap * s.S, filter = line * s.R;
        c.ours = memory::desc({s.C, s.K, s.R, s.S}, f32, memory::dims{1, filter, line, tap});
        const dnnl::convolution_forward::primitive_desc d(
            {dnnl::prop_kind::forward_training,
             direct,
             c.y,
             memory::desc({s.C, s.K, s.R, s.S}, f32, memory::format_tag::any),
             c.x,
             strides,
             {s.R - 1 - s.pad.top, s.S - 1 - s.pad.left},
             {s.R - 1 - s.pad.bottom, s.S - 1 - s.pad.right}},
            engine());
        c.primitive = dnnl::convolution_forward(d);
        c.w = d.weights_desc();
        break;
      }
      const dnnl::convolution_backward_data::primitive_desc d({direct, c.x, any, c.y, strides, before, after},
                                                              engine(), forward);
      c.primitive = dnnl::convolution_backward_data(d);
      c.w = d.weights_desc();
      break;
    }
    case Kind::kBackwardW: {
      const dnnl::convolution_backward_weights::primitive_desc d(
          {direct, c.x, any, c.y, strides, before, after}, engine(), forward);
      c.primitive = dnnl::convolution_backward_weights(d);
      c.w = d.diff_weights_desc();
      break;
    }
  }
  c.reorders = c.w != c.ours;
  if (c.reorders) {
    c.packed = memory(c.w, engine());
    const memory ours(c.ours, engine(), nullptr);
    c.reorder = key.kind == Kind::kBackwardW ? dnnl::reorder(c.packed, ours) : dnnl::reorder(ours, c.packed);
  }
  return c;
}

Convolution& prepared(Kind kind, const ConvShape& shape) {
  // One training loop runs at a time; the lock guards lookups from tests and loaders.
  static std::mutex mutex;
  static auto* cache = new std::unordered_map<Key, Convolution, KeyHash>;
  constexpr size_t kMost = 1024;  // multi-scale training of a large network needs some hundred
  const Key key{kind, shape, omp_get_max_threads()};
  const std::lock_guard lock(mutex);
  if (cache->size() >= kMost) cache->clear();
  const auto [at, added] = cache->try_emplace(key);
  if (added) at->second = make(key);
  return at->second;
}

memory over(const memory::desc& d, const float* p) { return {d, engine(), const_cast<float*>(p)}; }

/// The filters in the layout that the primitive wants.
memory filters(Convolution& c, const float* w) {
  memory ours = over(c.ours, w);
  if (!c.reorders) return ours;
  c.reorder.execute(stream(), ours, c.packed);
  return c.packed;
}

/// The filters with the order of their taps reversed.
const float* reversed_taps(const ConvShape& s, const float* w) {
  thread_local std::vector<float> buffer;
  const int taps = s.R * s.S;
  buffer.resize(std::max(buffer.size(), static_cast<size_t>(s.K) * taps * s.C));
  float* to = buffer.data();
#pragma omp parallel for schedule(static)
  for (int k = 0; k < s.K; ++k)
    for (int i = 0; i < taps; ++i)
      std::memcpy(to + (int64_t{k} * taps + i) * s.C, w + (int64_t{k} * taps + taps - 1 - i) * s.C,
                  sizeof(float) * s.C);
  return to;
}

bool pointwise(const ConvShape& s) { return s.R == 1 && s.S == 1 && s.stride == 1 && s.pad == Padding{}; }

enum class Transpose : bool { kNo, kYes };

/// c [m,n] = op(a) [m,k] * op(b) [k,n], all rows dense; a transposed operand is stored the other way round.
void gemm(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, const float* a, const float* b,
          float* c) {
  const bool at = ta == Transpose::kYes, bt = tb == Transpose::kYes;
  const dnnl::status status =
      dnnl::sgemm(at ? 'T' : 'N', bt ? 'T' : 'N', m, n, k, 1.0f, a, at ? m : k, b, bt ? k : n, 0.0f, c, n);
  ESPALIER_CHECK(status == dnnl::status::success, "oneDNN: a matrix product of ", m, " x ", n, " x ", k,
                 " failed");
}

void finish(const ConvShape& s, const Epilogue& e, float* y) {
  if (!e.bias && !e.residual && e.act.is_none()) return;
  const int64_t rows = int64_t{s.N} * s.P() * s.Q();
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; ++i) {
    float* row = y + i * s.K;
    for (int k = 0; k < s.K; ++k) {
      float v = row[k];
      if (e.bias) v += e.bias[k];
      if (e.residual) v += e.residual[i * s.K + k];
      row[k] = e.act(v);
    }
  }
}

}  // namespace

namespace cpu {

bool conv2d_forward(const ConvShape& s, const float* x, const float* w, const Epilogue& e, float* y) {
  if (normed_conv2d_forward(s, x, {}, w, e, y, nullptr) || conv2d_forward_winograd(s, x, w, e, y))
    return true;
  if (pointwise(s)) {
    gemm(Transpose::kNo, Transpose::kYes, int64_t{s.N} * s.H * s.W, s.K, s.C, x, w, y);
  } else {
    Convolution& c = prepared(Kind::kForward, s);
    c.primitive.execute(
        stream(),
        {{DNNL_ARG_SRC, over(c.x, x)}, {DNNL_ARG_WEIGHTS, filters(c, w)}, {DNNL_ARG_DST, over(c.y, y)}});
    stream().wait();
  }
  finish(s, e, y);
  return true;
}

bool conv2d_backward_x(const ConvShape& s, const float* dy, const float* w, float* dx) {
  if (normed_conv2d_backward(s, nullptr, {}, w, {.g = dy}, {.dx = dx}) ||
      conv2d_backward_x_winograd(s, dy, w, dx))
    return true;
  if (pointwise(s)) {
    gemm(Transpose::kNo, Transpose::kNo, int64_t{s.N} * s.H * s.W, s.C, s.K, dy, w, dx);
    return true;
  }
  Convolution& c = prepared(Kind::kBackwardX, s);
  if (c.turned) {
    const memory turned = filters(c, reversed_taps(s, w));
    c.primitive.execute(
        stream(), {{DNNL_ARG_SRC, over(c.y, dy)}, {DNNL_ARG_WEIGHTS, turned}, {DNNL_ARG_DST, over(c.x, dx)}});
    stream().wait();
    return true;
  }
  c.primitive.execute(stream(), {{DNNL_ARG_DIFF_DST, over(c.y, dy)},
                                 {DNNL_ARG_WEIGHTS, filters(c, w)},
                                 {DNNL_ARG_DIFF_SRC, over(c.x, dx)}});
  stream().wait();
  return true;
}

bool conv2d_backward_w(const ConvShape& s, const float* x, const float* dy, float* dw) {
  if (normed_conv2d_backward(s, x, {}, nullptr, {.g = dy}, {.dw = dw})) return true;
  if (conv2d_backward_w_winograd(s, x, dy, dw) || conv2d_backward_w_tiled(s, x, dy, dw)) return true;
  if (pointwise(s)) {
    gemm(Transpose::kYes, Transpose::kNo, s.K, s.C, int64_t{s.N} * s.H * s.W, dy, x, dw);
    return true;
  }
  Convolution& c = prepared(Kind::kBackwardW, s);
  const memory ours = over(c.ours, dw);
  c.primitive.execute(stream(), {{DNNL_ARG_SRC, over(c.x, x)},
                                 {DNNL_ARG_DIFF_DST, over(c.y, dy)},
                                 {DNNL_ARG_DIFF_WEIGHTS, c.reorders ? c.packed : ours}});
  if (c.reorders) c.reorder.execute(stream(), c.packed, const_cast<memory&>(ours));
  stream().wait();
  return true;
}

}  // namespace cpu
}  // namespace espalier::kernels

#else

namespace espalier::kernels::cpu {

bool conv2d_forward(const ConvShape& s, const float* x, const float* w, const Epilogue& e, float* y) {
  return normed_conv2d_forward(s, x, {}, w, e, y, nullptr) || conv2d_forward_winograd(s, x, w, e, y);
}
bool conv2d_backward_x(const ConvShape& s, const float* dy, const float* w, float* dx) {
  return normed_conv2d_backward(s, nullptr, {}, w, {.g = dy}, {.dx = dx}) ||
         conv2d_backward_x_winograd(s, dy, w, dx);
}
bool conv2d_backward_w(const ConvShape& s, const float* x, const float* dy, float* dw) {
  return normed_conv2d_backward(s, x, {}, nullptr, {.g = dy}, {.dw = dw}) ||
         conv2d_backward_w_winograd(s, x, dy, dw) || conv2d_backward_w_tiled(s, x, dy, dw);
}

}  // namespace espalier::kernels::cpu

#endif
