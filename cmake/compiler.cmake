# Language level, warnings, linker and caches: everything every target of the project shares.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(FORESHADOW_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")

option(FORESHADOW_LIBFUZZER "Build tests/fuzz with clang's libFuzzer (preset fuzz)" OFF)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# Contraction stays off so that every instruction set and the GPU round alike (explicit fma where
# it is wanted): the CPU and CUDA twins are compared bit for bit.
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)

add_library(foreshadow_flags INTERFACE)
target_include_directories(foreshadow_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(foreshadow_flags INTERFACE FORESHADOW_VERSION="${PROJECT_VERSION}")
# -Wrestrict: GCC 12 sees overlaps in std::string operator+ that are not there (GCC bug 105651).
target_compile_options(foreshadow_flags INTERFACE
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-restrict>
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror>)

if(FORESHADOW_SANITIZE)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${FORESHADOW_SANITIZE}>
                      $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>
                      # GCC 12 raises it inside std::regex under sanitizers.
                      $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
  add_link_options(-fsanitize=${FORESHADOW_SANITIZE})
endif()

if(FORESHADOW_LIBFUZZER)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL Clang)
    message(FATAL_ERROR "FORESHADOW_LIBFUZZER needs clang, this is ${CMAKE_CXX_COMPILER_ID}")
  endif()
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
endif()

# A torch file takes over a gigabyte to compile: never two at a time.
set_property(GLOBAL PROPERTY JOB_POOLS torch_pool=1)
