#pragma once
// What device.h does on a GPU. See device_cuda.cu and staging_cuda.cu.

#include <cstddef>
#include <cstdint>

namespace espalier::kernels::cuda {

/// The number of the process's GPU, which becomes the calling thread's; current_stream() makes it so as well.
int current_gpu();

/// On the stream. Throws OutOfMemory, naming what was asked, what is free and what to lower.
void* allocate(size_t bytes);
void release(void* memory);
/// At once, and also while launches are recorded. The latter waits for the GPU.
void* allocate_lasting(size_t bytes);
void release_lasting(void* memory);
size_t free_bytes();

/// Between host memory, which may be any, and the GPU, by way of pinned buffers. upload() returns when the
/// source is no longer needed, download() when the contents are there. `stream` is a cudaStream_t; null: the
/// current one.
void upload(void* to_gpu, const void* from_host, size_t bytes, void* stream = nullptr);
void download(void* to_host, const void* from_gpu, size_t bytes);
void copy(void* to, const void* from, size_t bytes);  ///< within the GPU
void fill_bytes(void* memory, int byte, size_t bytes);

void synchronize();

/// Blocks that went back to the GPU so far: what was recorded before may refer to them.
uint64_t releases();
/// True with ESPALIER_SYNC=1.
bool waits_after_launches();

/// Thrown by what cannot be recorded as a graph, see launch_graph.h.
struct NotRecordable {};
void set_recording(bool on);
bool recording();
/// Throws NotRecordable while work is recorded.
void refuse_recording();

/// Throws std::runtime_error "CUDA: CALL: what happened" unless status, a cudaError_t, is success;
/// OutOfMemory where that is what happened.
void check(int status, const char* call);

}  // namespace espalier::kernels::cuda

#define ESPALIER_CUDA_CHECK(call) ::espalier::kernels::cuda::check(call, #call)
