# The kernels: one source per instruction set, chosen at run time (kernel_body.h is the code of all).
set(kernel_options -O3 -fno-math-errno -ffp-contract=fast -Wno-psabi)
set(kernel_isa_generic "")
set(kernel_isa_avx2 -mavx2 -mfma)
set(kernel_isa_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mprefer-vector-width=512)
set(kernel_isa_avx512_bf16 ${kernel_isa_avx512})
foreach(isa generic avx2 avx512 avx512_bf16)
  set(options ${kernel_options})
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    list(APPEND options ${kernel_isa_${isa}})
  endif()
  set_source_files_properties(cpu/kernels_${isa}.c PROPERTIES COMPILE_OPTIONS "${options}")
endforeach()

# The OpenMP library that oneDNN was built with; parallel.c calls it directly.
target_link_libraries(nn PRIVATE gomp)
