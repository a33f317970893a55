// Log files of the services: written by them directly (appending), so that they outlive the
// supervisor; kept small by it.
#ifndef INKLING_CLI_STACK_LOGS_IMPL_H
#define INKLING_CLI_STACK_LOGS_IMPL_H

#include "base/buf.h"
#include "base/err.h"

#define LOGS_BYTES_MAX (8 << 20) // of NAME.log; more goes to NAME.log.1
#define LOGS_KEPT      3         // NAME.log.1 … NAME.log.3

char *logs_path(const char *home, const char *name); // malloc'ed
// For appending, close-on-exec; *size: what is in it already.
err_code_t logs_open(const char *home, const char *name, int *fd, long long *size, err_t *err);
// Appends the last lines that were written behind `from`.
void logs_tail(const char *home, const char *name, long long from, int lines, buf_t *out);
// Moves what is too large to NAME.log.1. Lines written in the instant between the end of the copy
// and the cut are lost.
void logs_rotate(const char *home, const char *name);

#endif
