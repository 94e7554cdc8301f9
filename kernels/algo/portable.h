// Marks functions that run on the host and, where nvcc compiles them, on the GPU too - or, then,
// only there.
#pragma once

#if defined(__CUDACC__)
#define FORESHADOW_PORTABLE __host__ __device__
#define FORESHADOW_DEVICE __device__
#else
#define FORESHADOW_PORTABLE
#define FORESHADOW_DEVICE
#endif
