// What the code under test writes to stdout or stderr.
#ifndef INKLING_TESTS_UNIT_CLI_CAPTURE_H
#define INKLING_TESTS_UNIT_CLI_CAPTURE_H

#include <stddef.h>

typedef struct {
    int target, saved, source;
} capture_t;

// target: STDOUT_FILENO or STDERR_FILENO goes to a file, or to a terminal of so many columns.
void capture_begin(capture_t *capture, int target);
void capture_begin_terminal(capture_t *capture, int target, unsigned short columns);
// Puts the target back; text gets what was written, NUL-terminated.
void capture_end(capture_t *capture, char *text, size_t size);

#endif
