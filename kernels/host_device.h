#pragma once

/// Marks what both devices run: with nvcc a function for host and device, without it an inline one.
#ifdef __CUDACC__
#define ESPALIER_HD __host__ __device__ __forceinline__
#else
#define ESPALIER_HD inline
#endif
