// Marks functions that run on the host and, where nvcc compiles them, on the GPU too.
#pragma once

#if defined(__CUDACC__)
#define FORESHADOW_PORTABLE __host__ __device__
#else
#define FORESHADOW_PORTABLE
#endif
