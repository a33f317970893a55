// AVX-512 (see cpu.cmake), float32.
#if defined __x86_64__

#define LANES        16
#define KERNEL_BF16  0
#define KERNEL_TABLE kernels_avx512
#include "nn/cpu/kernel_body.h"

#endif
