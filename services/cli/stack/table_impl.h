// The table of services.
#ifndef INKLING_CLI_STACK_TABLE_IMPL_H
#define INKLING_CLI_STACK_TABLE_IMPL_H

#include "stack/stack.h"

typedef struct {
    const char *name, *program;
    int rank;
    int64_t end_ms;
} stack_row_t;

#define STACK_ONE(name, program, rank, end_ms) +1
enum {
    STACK_COUNT = 0 STACK_SERVICES(STACK_ONE),
    STACK_REDIS = 0,
    STACK_DISPATCHER = 1,
    STACK_RANKS = 3
};

extern const stack_row_t stack_rows[STACK_COUNT];

#define STACK_SUPERVISOR "supervisor" // its name in pids and logs

#endif
