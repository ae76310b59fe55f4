#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/dispatch.h"
#include "kernels/fold.h"
#include "kernels/launch_graph.h"
#include "kernels/slice_loops.h"
#ifdef ESPALIER_HAS_CUDA
#include "kernels/cuda_launch.h"
#endif

namespace espalier::kernels {

namespace {

/// Elements of one slice that one item takes: enough for a CPU's vectors, and for a block of CUDA threads.
constexpr int kCpuBlock = 4096, kCudaBlock = slices::kBlock;

int block_of(Device device) { return device == Device::kCpu ? kCpuBlock : kCudaBlock; }

/// One item is one block of one slice, found by bisection: update.run(slice, begin, end, item).
template <int kBlock, class Update>
struct OverBlocks {
  const ParameterSlice* slices;
  const int64_t* first;
  int count;
  Update update;
  ESPALIER_HD void operator()(int64_t item) const {
    int low = 0, high = count;  // first[low] <= item < first[high]
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= item)
        low = middle;
      else
        high = middle;
    }
    const int64_t begin = (item - first[low]) * kBlock, end = begin + kBlock;
    const int64_t n = slices[low].elements;
    update.run(slices[low], begin, end < n ? end : n, item);
  }
};

template <class Update>
void for_each_block(const SliceTable& t, const Update& update) {
  const int64_t blocks = t.block_count();
#ifdef ESPALIER_HAS_CUDA
  if (fast_on_cuda(t.device()) && blocks > 0)
    return cuda::launch(slices::ForEachElement<Update>{t.on_device(), t.first(), t.count(), update}, blocks);
#endif
  if (t.device() == Device::kCpu)
    for_each(t.device(), blocks, OverBlocks<kCpuBlock, Update>{t.on_device(), t.first(), t.count(), update},
             kCpuBlock);
  else
    for_each(t.device(), blocks, OverBlocks<kCudaBlock, Update>{t.on_device(), t.first(), t.count(), update},
             kCudaBlock);
}

struct Sgd {
  SgdStep s;
  const StepControl* control;
  ESPALIER_HD void run(const ParameterSlice& p, int64_t begin, int64_t end, int64_t) const {
    if (!control->finite) return;
    float* __restrict w = p.w;
    float* __restrict m = p.m;
    const float* __restrict g = p.g;
    const float rate = control->rate * p.rate_factor, scale = control->gradient_scale,
                added = s.decoupled ? 0.0f : p.decay, taken = s.decoupled ? rate * p.decay : 0.0f;
    for (int64_t i = begin; i < end; ++i) {
      const float velocity = s.momentum * m[i] + (scale * g[i] + added * w[i]);
      m[i] = velocity;
      w[i] = (w[i] - taken * w[i]) - rate * velocity;
    }
  }
};

struct AdamW {
  AdamWStep s;
  const StepControl* control;
  ESPALIER_HD void run(const ParameterSlice& p, int64_t begin, int64_t end, int64_t) const {
    if (!control->finite) return;
    float* __restrict w = p.w;
    float* __restrict m = p.m;
    float* __restrict v = p.v;
    const float* __restrict g = p.g;
    const float plain = control->rate * p.rate_factor, taken = plain * p.decay,
                rate = plain / control->correction1, root = 1 / std::sqrt(control->correction2), eps = s.eps,
                scale = control->gradient_scale;
    const float beta1 = s.beta1, rest1 = 1 - s.beta1, beta2 = s.beta2, rest2 = 1 - s.beta2;
    for (int64_t i = begin; i < end; ++i) {
      const float gradient = scale * g[i];
      const float mean = beta1 * m[i] + rest1 * gradient;
      const float square = beta2 * v[i] + rest2 * gradient * gradient;
      m[i] = mean;
      v[i] = square;
      w[i] = (w[i] - taken * w[i]) - rate * mean / (std::sqrt(square) * root + eps);
    }
  }
};

struct AverageInto {
  const StepControl* control;
  ESPALIER_HD void run(const ParameterSlice& p, int64_t begin, int64_t end, int64_t) const {
    if (!control->finite) return;
    const float share = control->average_share;
    float* __restrict m = p.m;
    const float* __restrict w = p.w;
    for (int64_t i = begin; i < end; ++i) m[i] += share * (w[i] - m[i]);
  }
};

/// parts[item] = sum of g^2 over one block. Sixteen running sums, so that the compiler can use vectors.
struct SquareSum {
  double* parts;
  ESPALIER_HD void run(const ParameterSlice& p, int64_t begin, int64_t end, int64_t item) const {
    constexpr int kLanes = 16;
    double lanes[kLanes] = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      for (int k = 0; k < kLanes; ++k) lanes[k] += static_cast<double>(p.g[i + k]) * p.g[i + k];
    for (int k = 0; i < end; ++i, ++k) lanes[k] += static_cast<double>(p.g[i]) * p.g[i];
    double sum = 0;
    for (int k = 0; k < kLanes; ++k) sum += lanes[k];
    parts[item] = sum;
  }
};

}  // namespace

SliceTable::~SliceTable() {
  if (memory_) release(device_, memory_, bytes_);
}

void SliceTable::set(std::span<const ParameterSlice> slices) {
  slices_.assign(slices.begin(), slices.end());
  const int block = block_of(device_);
  first_.assign(1, 0);
  for (const ParameterSlice& s : slices_) first_.push_back(first_.back() + (s.elements + block - 1) / block);
  const size_t doubles = static_cast<size_t>(block_count() + fold_work(1));
  if (device_ == Device::kCpu) {
    host_sums_.resize(doubles);
    return;
  }
  if (slices_.empty()) return;
  if (const size_t bytes = table_bytes() + index_bytes() + doubles * sizeof(double); bytes_ < bytes) {
    if (memory_) release(device_, memory_, bytes_);
    memory_ = nullptr;
    memory_ = allocate(device_, bytes);
    bytes_ = bytes;
  }
  pending_ = true;
  if (!recording(device_)) flush();
}

void SliceTable::flush() {
  if (!pending_) return;
  copy(device_, memory_, Device::kCpu, slices_.data(), table_bytes());
  copy(device_, static_cast<char*>(memory_) + table_bytes(), Device::kCpu, first_.data(), index_bytes());
  pending_ = false;
}

const ParameterSlice* SliceTable::on_device() const {
  return device_ == Device::kCpu ? slices_.data() : static_cast<const ParameterSlice*>(memory_);
}

const int64_t* SliceTable::first() const {
  if (device_ == Device::kCpu) return first_.data();
  return reinterpret_cast<const int64_t*>(static_cast<const char*>(memory_) + table_bytes());
}

double* SliceTable::sums() {
  if (device_ == Device::kCpu) return host_sums_.data();
  return reinterpret_cast<double*>(static_cast<char*>(memory_) + table_bytes() + index_bytes());
}

void sgd_step(const SliceTable& table, const SgdStep& step, const StepControl* control) {
  for_each_block(table, Sgd{step, control});
}

void adamw_step(const SliceTable& table, const AdamWStep& step, const StepControl* control) {
  for_each_block(table, AdamW{step, control});
}

void average_into(const SliceTable& table, const StepControl* control) {
  for_each_block(table, AverageInto{control});
}

const double* square_sum(SliceTable& table) {
  const int64_t blocks = table.block_count();
  if (blocks == 0) return nullptr;
  double* parts = table.sums();
#ifdef ESPALIER_HAS_CUDA
  if (fast_on_cuda(table.device()))
    cuda::launch(slices::SquareSum{table.on_device(), table.first(), table.count(), parts}, blocks);
  else
#endif
    for_each_block(table, SquareSum{parts});
  return fold(table.device(), 1, blocks, parts, parts + blocks);
}

}  // namespace espalier::kernels
