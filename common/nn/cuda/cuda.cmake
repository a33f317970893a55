# The CUDA backend: a plugin, built where a CUDA 13 toolkit with cuDNN 9 and nvcc is found (see CudaHeaders.cmake).
set(cuda_c_sources conv.c cuda.c dense.c device.c memory.c passes.c plan.c predict.c sets.c state.c)
set(cuda_kernels chain.cu norm.cu simple.cu)
list(TRANSFORM cuda_c_sources PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/cuda/)
list(TRANSFORM cuda_kernels PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/cuda/)
# What it shares with the rest of the engine is in it as well: both sides are free of state.
list(APPEND cuda_c_sources ${CMAKE_CURRENT_SOURCE_DIR}/ref/head.c ${CMAKE_CURRENT_SOURCE_DIR}/../base/err.c)
# For the tests that build the same sources with a double of CUDA.
set_property(GLOBAL PROPERTY INKLING_CUDA_C_SOURCES ${cuda_c_sources})
set_property(GLOBAL PROPERTY INKLING_CUDA_KERNELS ${cuda_kernels})

include(CudaHeaders)
if(NOT INKLING_CUDA_ROOT)
  message(STATUS "Engine: no plugin for CUDA: ${INKLING_CUDA_WHY}")
  return()
endif()
if(NOT EXISTS ${INKLING_CUDA_ROOT}/bin/nvcc)
  message(STATUS "Engine: no plugin for CUDA: ${INKLING_CUDA_ROOT} has no nvcc")
  return()
endif()
set(INKLING_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real 100-real 120 CACHE STRING
    "What the kernels are compiled for")
set(nvcc_architectures "")
foreach(architecture ${INKLING_CUDA_ARCHITECTURES})
  string(REGEX REPLACE "-real$" "" number ${architecture})
  if(architecture MATCHES "-real$")
    list(APPEND nvcc_architectures -gencode arch=compute_${number},code=sm_${number})
  else()
    list(APPEND nvcc_architectures -gencode arch=compute_${number},code=[sm_${number},compute_${number}])
  endif()
endforeach()

set(nvcc_host "")
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU) # else what nvcc finds itself
  set(nvcc_host -ccbin ${CMAKE_CXX_COMPILER})
endif()

# By custom commands: CMake's own CUDA language wants a toolkit in a vendor's layout, which wheels do not have.
set(cuda_objects "")
foreach(kernel ${cuda_kernels})
  get_filename_component(name ${kernel} NAME_WE)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda_${name}.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${INKLING_CUDA_ROOT}/bin/nvcc ${nvcc_architectures} -std=c++17 -O3 --Werror all-warnings
            ${nvcc_host} -Xcompiler=-fPIC,-fvisibility=hidden,-Wall
            -I ${CMAKE_BINARY_DIR}/layers/nn -I ${CMAKE_BINARY_DIR}/layers/base -I ${INKLING_CUDA_ROOT}/include
            -MD -MF ${object}.d -c ${kernel} -o ${object}
    DEPENDS ${kernel} DEPFILE ${object}.d
    VERBATIM)
  list(APPEND cuda_objects ${object})
endforeach()

# Libraries by their files, with or without a version in the name: wheels have no links.
foreach(library cudart cudnn_graph cublasLt)
  file(GLOB found ${INKLING_CUDA_ROOT}/lib64/lib${library}.so* ${INKLING_CUDA_ROOT}/lib/lib${library}.so*)
  list(SORT found)
  list(POP_FRONT found first)
  if(NOT first)
    message(STATUS "Engine: no plugin for CUDA: ${INKLING_CUDA_ROOT} has no lib${library}")
    return()
  endif()
  list(APPEND cuda_libraries ${first})
  get_filename_component(cuda_library_folder ${first} DIRECTORY)
endforeach()

add_library(inkling-cuda MODULE ${cuda_c_sources} ${cuda_objects})
set_target_properties(inkling-cuda PROPERTIES PREFIX "" LINKER_LANGUAGE CXX
                      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/inkling
                      BUILD_RPATH ${cuda_library_folder} INSTALL_RPATH "$ORIGIN;$ORIGIN/cuda;${cuda_library_folder}")
target_include_directories(inkling-cuda PRIVATE ${CMAKE_BINARY_DIR}/layers/nn ${CMAKE_BINARY_DIR}/layers/base)
target_include_directories(inkling-cuda SYSTEM PRIVATE ${INKLING_CUDA_ROOT}/include)
target_link_libraries(inkling-cuda PRIVATE ${cuda_libraries} m)
install(TARGETS inkling-cuda LIBRARY DESTINATION lib/inkling)
