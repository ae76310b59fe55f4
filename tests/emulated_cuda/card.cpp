// What the card says of itself, and errors.

#include <cstring>

#include "emulated_cuda/settings.h"
#include "emulated_cuda/stream.h"

using namespace espalier::emulated_cuda;

cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = kCards;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* about, int device) {
  if (device < 0 || device >= kCards) return said(cudaErrorInvalidDevice);
  const Card& card = settings().card;
  *about = {.name = {}, .major = card.major, .minor = card.minor};
  std::strncpy(about->name, card.name.c_str(), sizeof about->name - 1);
  return said(cudaSuccess);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device < 0 || device >= kCards) return said(cudaErrorInvalidDevice);
  const Card& card = settings().card;
  *value = attribute == cudaDevAttrComputeCapabilityMajor         ? card.major
           : attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? card.shared_memory_of_block
                                                                  : 1;
  return said(cudaSuccess);
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kCards) return said(cudaErrorInvalidDevice);
  current_card() = device;
  return said(cudaSuccess);
}
cudaError_t cudaGetLastError() { return take_last_error(); }

namespace {
struct ErrorText {
  cudaError_t error;
  const char *name, *text;
};
ErrorText text_of(cudaError_t error) {
  for (const ErrorText& known :
       {ErrorText{cudaSuccess, "cudaSuccess", "no error"},
        {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
        {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
        {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
        {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
        {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
        {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
        {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
         "operation not permitted when stream is capturing"},
        {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
         "operation failed due to a previous error during capture"}})
    if (known.error == error) return known;
  return {error, "cudaErrorUnknown", "unknown error"};
}
}  // namespace

const char* cudaGetErrorString(cudaError_t error) { return text_of(error).text; }
const char* cudaGetErrorName(cudaError_t error) { return text_of(error).name; }
