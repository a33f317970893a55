// Buffers for vectors, zeroed. Large ones lie on huge pages where the kernel has them: strided
// passes over activations would otherwise spend their time in the page tables.
#ifndef INKLING_NN_CPU_MEMORY_H
#define INKLING_NN_CPU_MEMORY_H

#include "base/err.h"

#include <stdint.h>

// NULL and ERR_NO_MEMORY if there is none; bytes 0 gives a buffer all the same.
void *memory_new(uint64_t bytes, err_t *err);
void memory_free(void *memory); // NULL is allowed

#endif
