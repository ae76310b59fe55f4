#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/slice_loops.h"
#ifdef __CUDACC__
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
#ifdef __CUDACC__
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
  ESPALIER_HD void run(const ParameterSlice& p, int64_t begin, int64_t end, int64_t) const {
    float* __restrict w = p.w;
    float* __restrict m = p.m;
    const float* __restrict g = p.g;
    const float rate = p.rate, added = s.decoupled ? 0.0f : p.decay,
                taken = s.decoupled ? p.rate * p.decay : 0.0f;
    for (int64_t i = begin; i < end; ++i) {
      const float velocity = s.momentum * m[i] + (s.gradient_scale * g[i] + added * w[i]);
      m[i] = velocity;
      w[i] = (w[i] - taken * w[i]) - rate * velocity;
    }
  }
};

struct AdamW {
  AdamWStep s;
  ESPALIER_HD void run(const ParameterSlice& p, int64_t begin, int64_t end, int64_t) const {
    float* __restrict w = p.w;
    float* __restrict m = p.m;
    float* __restrict v = p.v;
    const float* __restrict g = p.g;
    const float taken = p.rate * p.decay, rate = p.rate / s.correction1, root = 1 / std::sqrt(s.correction2),
                eps = s.eps, scale = s.gradient_scale;
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
  float share;
  ESPALIER_HD void run(const ParameterSlice& p, int64_t begin, int64_t end, int64_t) const {
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

/// sums[i] = parts[i] + parts[i + kSums] + ..., so that the host adds up few.
constexpr int kSums = 1024;
struct FoldParts {
  const double* parts;
  int64_t count;
  double* sums;
  ESPALIER_HD void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t k = i; k < count; k += kSums) sum += parts[k];
    sums[i] = sum;
  }
};

/// Memory on a device for one call.
struct Scratch {
  Device device;
  size_t bytes;
  void* memory;
  Scratch(Device device, size_t bytes) : device(device), bytes(bytes), memory(allocate(device, bytes)) {}
  ~Scratch() { release(device, memory, bytes); }
  Scratch(const Scratch&) = delete;
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
  if (device_ == Device::kCpu || slices_.empty()) return;
  const size_t table = slices_.size() * sizeof(ParameterSlice), index = first_.size() * sizeof(int64_t);
  if (bytes_ < table + index) {
    if (memory_) release(device_, memory_, bytes_);
    memory_ = nullptr;
    bytes_ = table + index;
    memory_ = allocate(device_, bytes_);
  }
  copy(device_, memory_, Device::kCpu, slices_.data(), table);
  copy(device_, static_cast<char*>(memory_) + table, Device::kCpu, first_.data(), index);
}

const ParameterSlice* SliceTable::on_device() const {
  return device_ == Device::kCpu ? slices_.data() : static_cast<const ParameterSlice*>(memory_);
}

const int64_t* SliceTable::first() const {
  if (device_ == Device::kCpu) return first_.data();
  return reinterpret_cast<const int64_t*>(static_cast<const char*>(memory_) +
                                          slices_.size() * sizeof(ParameterSlice));
}

void sgd_step(const SliceTable& table, const SgdStep& step) { for_each_block(table, Sgd{step}); }

void adamw_step(const SliceTable& table, const AdamWStep& step) { for_each_block(table, AdamW{step}); }

void average_into(const SliceTable& table, float share) { for_each_block(table, AverageInto{share}); }

double square_sum(const SliceTable& table) {
  const int64_t blocks = table.block_count();
  if (blocks == 0) return 0;
  const Scratch memory(table.device(), static_cast<size_t>(blocks + kSums) * sizeof(double));
  double* parts = static_cast<double*>(memory.memory);
#ifdef __CUDACC__
  if (fast_on_cuda(table.device()))
    cuda::launch(slices::SquareSum{table.on_device(), table.first(), table.count(), parts}, blocks);
  else
#endif
    for_each_block(table, SquareSum{parts});
  for_each(table.device(), kSums, FoldParts{parts, blocks, parts + blocks}, blocks / kSums + 1);
  std::vector<double> sums(kSums);
  copy(Device::kCpu, sums.data(), table.device(), parts + blocks, sums.size() * sizeof(double));
  double sum = 0;
  for (double part : sums) sum += part;
  return sum;
}

}  // namespace espalier::kernels
