// AVX-512 (see cpu.cmake), activations in bfloat16.
#if defined __x86_64__

#define LANES        16
#define KERNEL_BF16  1
#define KERNEL_TABLE kernels_avx512_bf16
#include "nn/cpu/kernel_body.h"

#endif
