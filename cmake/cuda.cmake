# FORESHADOW_CUDA=AUTO builds the CUDA twins wherever nvcc is found; without a GPU they compile, link
# and stay unused at run time.
set(FORESHADOW_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO, ON or OFF")
set_property(CACHE FORESHADOW_CUDA PROPERTY STRINGS AUTO ON OFF)

set(FORESHADOW_HAS_CUDA OFF)
if(NOT FORESHADOW_CUDA STREQUAL "OFF")
  find_program(NVCC nvcc HINTS /usr/local/cuda/bin $ENV{CUDA_HOME}/bin)
  if(NVCC)
    set(CMAKE_CUDA_COMPILER ${NVCC})
    # One image for Ampere and one for Hopper; the PTX of the latter serves what comes after.
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90 CACHE STRING "CUDA architectures")
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    # CMake before 3.26 does not know that nvcc compiles C++20.
    foreach(kind STANDARD EXTENSION)
      set(CMAKE_CUDA20_${kind}_COMPILE_OPTION "-std=c++20")
    endforeach()
    set(CMAKE_CUDA_STANDARD 20)
    # 554: nvcc minds that StepMajor<const T> converts to itself.
    add_compile_options(
      "$<$<COMPILE_LANGUAGE:CUDA>:--fmad=false;--extended-lambda;--expt-relaxed-constexpr;--diag-suppress=554;--Werror=all-warnings;-lineinfo>")
    set(FORESHADOW_HAS_CUDA ON)
  elseif(FORESHADOW_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FORESHADOW_CUDA=ON but nvcc is not on PATH nor in /usr/local/cuda/bin")
  endif()
endif()
message(STATUS "CUDA kernels: ${FORESHADOW_HAS_CUDA}")
