// Memory of the card and of the host, and copies between them.

#include <cstring>
#include <vector>

#include "emulated_cuda/memory.h"
#include "emulated_cuda/settings.h"
#include "emulated_cuda/stream.h"

using namespace espalier::emulated_cuda;

namespace {

void* take_or_wait(size_t bytes) {
  void* memory = take_memory(bytes);
  if (memory) return memory;
  wait_for_all();  // what is given back in a stream's order may be had by then
  return take_memory(bytes);
}

}  // namespace

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const Lock lock(mutex());
  if (Stream* s = forbidding()) return refused_in(*s);
  *memory = take_or_wait(bytes);
  return said(*memory ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* memory) {
  const Lock lock(mutex());
  if (Stream* s = forbidding()) return refused_in(*s);
  wait_for_all();
  return said(!memory || give_back_memory(memory) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t stream) {
  const Lock lock(mutex());
  if (stream->captured) return refused_in(*stream);  // it could be, but nothing here wants it
  if (stream->card != current_card()) return said(cudaErrorInvalidResourceHandle);
  *memory = take_or_wait(bytes);
  return said(*memory ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  const Lock lock(mutex());
  if (stream->captured) return refused_in(*stream);
  if (!is_card_memory(memory, 0)) return said(cudaErrorInvalidValue);
  return queue(*stream, "cudaFreeAsync", [memory] { give_back_memory(memory); });
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  const Lock lock(mutex());
  if (Stream* s = forbidding()) return refused_in(*s);
  *memory = take_pinned(bytes);
  return said(*memory ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* memory) {
  const Lock lock(mutex());
  if (Stream* s = forbidding()) return refused_in(*s);
  wait_for_all();
  return said(give_back_pinned(memory) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(mutex());
  wait_for_all();
  *total = settings().memory;
  *free = *total - memory_in_use();
  return said(cudaSuccess);
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return said(cudaSuccess);
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return said(cudaSuccess); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const Lock lock(mutex());
  const bool to_card = kind != cudaMemcpyDeviceToHost, from_card = kind != cudaMemcpyHostToDevice;
  if (is_card_memory(to, bytes) != to_card || is_card_memory(from, bytes) != from_card)
    return said(cudaErrorInvalidValue);
  const auto copy = [=] { std::memcpy(to, from, bytes); };
  if (to_card && (from_card || is_pinned(from, bytes))) return queue(*stream, "a copy to the card", copy);
  if (from_card && is_pinned(to, bytes)) return queue(*stream, "a copy to the host", copy);
  // Pageable memory: what is sent has been read when the call returns, what is fetched has arrived.
  if (stream->captured) return refused_in(*stream);
  if (to_card) {
    const auto* bytes_of = static_cast<const char*>(from);
    return queue(*stream, "a copy to the card", [to, sent = std::vector<char>(bytes_of, bytes_of + bytes)] {
      std::memcpy(to, sent.data(), sent.size());
    });
  }
  const cudaError_t status = queue(*stream, "a copy to the host", copy);
  work_off(*stream, stream->queued);
  return said(status);
}
cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t stream) {
  const Lock lock(mutex());
  if (!is_card_memory(memory, bytes)) return said(cudaErrorInvalidValue);
  return queue(*stream, "a fill", [=] { std::memset(memory, byte, bytes); });
}
