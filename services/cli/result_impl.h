// The result of a job for people, on stdout.
#ifndef INKLING_CLI_RESULT_IMPL_H
#define INKLING_CLI_RESULT_IMPL_H

#include <jansson.h>

// document: that of --json, {"job", "state", …}. A matrix "confusion" (in it or in "test") becomes
// a table of its own, "history" is left out: it was shown while the job ran.
void result_print(const json_t *document);

#endif
