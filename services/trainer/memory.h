// How much memory this process may still take: the smallest of what the kernel calls available and
// what the control groups above the process leave.
#ifndef INKLING_TRAINER_MEMORY_H
#define INKLING_TRAINER_MEMORY_H

#include "base/err.h"

#include <stdint.h>

// 0: unknown; 1: nothing.
uint64_t memory_available(void);

// ERR_TOO_LARGE if needed bytes are more than that, saying both and what to do.
err_code_t memory_check(uint64_t needed, err_t *err);

// For tests: the same from given places ("/proc", "/sys/fs/cgroup").
uint64_t memory_available_at(const char *proc, const char *cgroup);

#endif
