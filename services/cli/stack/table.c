#include "table_impl.h"

const stack_row_t stack_rows[STACK_COUNT] = {
#define X(name, program, rank, end_ms) {name, program, rank, end_ms},
    STACK_SERVICES(X)
#undef X
};
