// The program inkling as its users run it: words in, exit code and texts out.
//
// Not thread-safe. Stacks that a test has brought up are ended when the test ends, however it ends.
#ifndef INKLING_TESTS_INTEGRATION_CLI_RUN_H
#define INKLING_TESTS_INTEGRATION_CLI_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define RUN_HOME_SIZE 256

typedef struct {
    int code; // exit code; 128 + number after a signal
    char *out, *err;
    json_t *json; // of stdout, when that is exactly one JSON document, else NULL
    int64_t ms;
    // while it runs:
    pid_t pid;
    char *out_path, *err_path;
    int64_t began_ms;
} run_t;

// A fresh folder in /tmp whose stack is ended, and which is removed, by run_end_homes() or by a
// guard process when the test dies before.
void run_make_home(char home[RUN_HOME_SIZE]);
void run_guard(const char *home); // the same for a folder of the test's own
void run_end_homes(void);
// Another folder with the programs than the build's; NULL: that again.
void run_use_programs(const char *folder);

// inkling WORDS… with INKLING_HOME=home (NULL: unset). Fails the test after five minutes.
#define run(r, home, ...) run_words(r, home, (const char *const[]){__VA_ARGS__, NULL})
void run_words(run_t *run, const char *home, const char *const *words);
#define run_begin(r, home, ...) run_begin_words(r, home, (const char *const[]){__VA_ARGS__, NULL})
void run_begin_words(run_t *run, const char *home, const char *const *words);
// Waits until `text` stands on its stderr.
void run_await_text(run_t *run, const char *text);
void run_finish(run_t *run);
void run_release(run_t *run);

// Runs it and fails the test, showing all, unless it ends with `code`; with --json among the words
// also unless stdout is one JSON document.
#define expect(code, home, ...) expect_words(code, home, (const char *const[]){__VA_ARGS__, NULL})
// The run is kept until the next one.
const run_t *expect_words(int code, const char *home, const char *const *words);

// Member at a path like "redis/pid" or "services/0/name"; NULL: not there.
const json_t *run_at(const json_t *document, const char *path);
const char *run_text_at(const json_t *document, const char *path); // "" if it is no text
long long run_number_at(const json_t *document, const char *path); // -1 if it is no whole number

#endif
