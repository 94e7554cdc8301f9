# Debian packages, and libtorch and Arrow from the wheels that script/setup unpacks into .deps.
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED)  # brings re2::re2
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(toml11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(RocksDB REQUIRED)  # and with it zstd::zstd
find_package(OpenSSL REQUIRED)
find_package(hwy REQUIRED)
find_package(ZLIB REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(Snappy REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)

set(FORESHADOW_DEPS ${PROJECT_SOURCE_DIR}/.deps CACHE PATH "Where script/setup unpacked libtorch")
if(NOT EXISTS ${FORESHADOW_DEPS}/torch/lib/libtorch_cpu.so OR NOT EXISTS ${FORESHADOW_DEPS}/pyarrow
   OR NOT EXISTS ${FORESHADOW_DEPS}/xds/xds.pb)
  message(FATAL_ERROR "libtorch, Arrow or xDS is not in ${FORESHADOW_DEPS}: run script/setup first")
endif()

# Debian's KissFFT ships a CMake package that does not find its own library.
find_path(KISSFFT_INCLUDE kissfft/kiss_fftr.h REQUIRED)
find_library(KISSFFT_LIBRARY kissfft-float REQUIRED)
add_library(kissfft::kissfft-float INTERFACE IMPORTED)
target_include_directories(kissfft::kissfft-float INTERFACE ${KISSFFT_INCLUDE}
                                                            ${KISSFFT_INCLUDE}/kissfft)
target_link_libraries(kissfft::kissfft-float INTERFACE ${KISSFFT_LIBRARY})

# TorchConfig.cmake demands the CUDA toolkit even for CPU use, so the two libraries are imported by
# hand. The CUDA half (libtorch_cuda.so) is loaded at run time where there is a GPU.
add_library(foreshadow_torch_headers INTERFACE)
target_include_directories(foreshadow_torch_headers SYSTEM INTERFACE
  ${FORESHADOW_DEPS}/torch/include
  ${FORESHADOW_DEPS}/torch/include/torch/csrc/api/include)

add_library(torch::torch INTERFACE IMPORTED)
target_link_libraries(torch::torch INTERFACE
  foreshadow_torch_headers
  ${FORESHADOW_DEPS}/torch/lib/libtorch_cpu.so
  ${FORESHADOW_DEPS}/torch/lib/libc10.so)
target_link_options(torch::torch INTERFACE
  "LINKER:-rpath,${FORESHADOW_DEPS}/torch/lib"
  "LINKER:-rpath,${FORESHADOW_DEPS}/nvidia/cu13/lib"
  "LINKER:-rpath-link,${FORESHADOW_DEPS}/nvidia/cu13/lib")

# Arrow C++ and its Parquet reader, out of pyarrow's wheel: Debian has neither.
file(GLOB ARROW_LIBRARIES ${FORESHADOW_DEPS}/pyarrow/libarrow.so.* ${FORESHADOW_DEPS}/pyarrow/libparquet.so.*)
add_library(arrow::parquet INTERFACE IMPORTED)
target_include_directories(arrow::parquet SYSTEM INTERFACE ${FORESHADOW_DEPS}/pyarrow/include)
target_link_libraries(arrow::parquet INTERFACE ${ARROW_LIBRARIES})
target_link_options(arrow::parquet INTERFACE "LINKER:-rpath,${FORESHADOW_DEPS}/pyarrow")

# libcsv comes without a CMake or pkg-config file.
find_library(CSV_LIBRARY csv REQUIRED)
find_path(CSV_INCLUDE_DIR csv.h REQUIRED)
add_library(csv::csv UNKNOWN IMPORTED)
set_target_properties(csv::csv PROPERTIES
  IMPORTED_LOCATION ${CSV_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${CSV_INCLUDE_DIR})

# cpp-httplib as Debian builds it: a library, with what its pkg-config file defines.
find_library(HTTPLIB_LIBRARY cpp-httplib REQUIRED)
find_path(HTTPLIB_INCLUDE_DIR httplib.h REQUIRED)
add_library(httplib::httplib UNKNOWN IMPORTED)
set_target_properties(httplib::httplib PROPERTIES
  IMPORTED_LOCATION ${HTTPLIB_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${HTTPLIB_INCLUDE_DIR}
  INTERFACE_COMPILE_DEFINITIONS
    "CPPHTTPLIB_OPENSSL_SUPPORT;CPPHTTPLIB_ZLIB_SUPPORT;CPPHTTPLIB_BROTLI_SUPPORT"
  INTERFACE_LINK_LIBRARIES "OpenSSL::SSL;OpenSSL::Crypto;Threads::Threads")
