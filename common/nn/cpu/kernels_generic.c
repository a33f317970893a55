// Any processor: the compiler makes of the vectors what it has.
#define LANES        8
#define KERNEL_BF16  0
#define KERNEL_TABLE kernels_generic
#include "nn/cpu/kernel_body.h"
