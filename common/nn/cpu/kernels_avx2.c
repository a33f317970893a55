// AVX2 and FMA (see cpu.cmake).
#if defined __x86_64__

#define LANES        8
#define KERNEL_BF16  0
#define KERNEL_TABLE kernels_avx2
#include "nn/cpu/kernel_body.h"

#endif
