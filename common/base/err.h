// Errors: one list of codes, and err_t, which says what was wrong and what to do about it.
//
// A function that can fail returns err_code_t (ERR_OK = 0) and takes an err_t * as its last
// argument, which may be NULL. On failure it fills *err once, where the cause is known; callers may
// put context before it with err_context(). On success *err is left alone. An err_t owns nothing:
// copy it freely.
#ifndef INKLING_BASE_ERR_H
#define INKLING_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

// code, name on the wire and in --json, text, may the same call succeed later without change?
#define ERR_CODES(X)                                                                               \
    X(OK, "OK", "no error", false)                                                                 \
    X(INVALID, "INVALID", "the request or its input is wrong", false)                              \
    X(USAGE, "USAGE", "the command line or a setting is wrong", false)                             \
    X(NOT_FOUND, "NOT_FOUND", "no such thing", false)                                              \
    X(CONFLICT, "CONFLICT", "the state of the thing does not allow this", false)                   \
    X(STALE, "STALE", "the lease was lost: another holder has, or may get, the job", false)        \
    X(NOT_LEADER, "NOT_LEADER", "another dispatcher leads", true)                                  \
    X(DENIED, "DENIED", "the key does not allow this", false)                                      \
    X(UNAVAILABLE, "UNAVAILABLE", "a service is away", true)                                       \
    X(FULL, "FULL", "a limit is reached", true)                                                    \
    X(TIMEOUT, "TIMEOUT", "no answer in time", true)                                               \
    X(CANCELLED, "CANCELLED", "cancelled on request", false)                                       \
    X(CORRUPT, "CORRUPT", "stored or received bytes are damaged", false)                           \
    X(UNSUPPORTED, "UNSUPPORTED", "this build or version cannot do it", false)                     \
    X(TOO_LARGE, "TOO_LARGE", "larger than the limit", false)                                      \
    X(PROTOCOL, "PROTOCOL", "the message breaks the protocol", false)                              \
    X(IO, "IO", "the operating system refused", true)                                              \
    X(NO_MEMORY, "NO_MEMORY", "out of memory", true)                                               \
    X(INTERNAL, "INTERNAL", "a defect in Inkling", false)

typedef enum {
#define X(code, name, text, retry) ERR_##code,
    ERR_CODES(X)
#undef X
        ERR_CODE_COUNT
} err_code_t;

typedef struct {
    err_code_t code;
    char message[768]; // what was wrong, and where; names the culprit
    char remedy[384];  // what to do; may be empty
} err_t;

const char *err_name(err_code_t code); // "NOT_FOUND"
const char *err_text(err_code_t code); // "no such thing"
bool err_retryable(err_code_t code);
// The code of that name, or ERR_INTERNAL for an unknown name.
err_code_t err_from_name(const char *name);

// Sets code and message, clears the remedy; returns code, so that `return err_set(err, …)` reads
// well.
err_code_t err_set(err_t *err, err_code_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// As err_set, with ": strerror(errno)" behind the message. Picks the code from errno: ENOENT is
// ERR_NOT_FOUND, ENOMEM ERR_NO_MEMORY, everything else ERR_IO.
err_code_t err_set_errno(err_t *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Sets the remedy; returns the code that is set.
err_code_t err_remedy(err_t *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Puts "context: " before the message; returns the code that is set.
err_code_t err_context(err_t *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Static analysis sees one file at a time: it is told that an error never is ERR_OK, so that it
// does not follow paths on which a failed call has left its result unset.
#if defined(__clang_analyzer__) && !defined(ERR_IMPLEMENTATION)
#define err_set(...)       (err_set(__VA_ARGS__), ERR_INTERNAL)
#define err_set_errno(...) (err_set_errno(__VA_ARGS__), ERR_INTERNAL)
#define err_remedy(...)    (err_remedy(__VA_ARGS__), ERR_INTERNAL)
#define err_context(...)   (err_context(__VA_ARGS__), ERR_INTERNAL)
#endif

// For a programmer's mistake: says where and aborts.
#define ERR_ASSERT(condition) ((condition) ? (void)0 : err_abort(__FILE__, __LINE__, #condition))
_Noreturn void err_abort(const char *file, int line, const char *condition);

// malloc, calloc, realloc and strdup that never return NULL: for small things whose loss no caller
// could handle (the kernel overcommits; a failure here is a limit set by the operator, and ends the
// process). Sizes that come from outside (images, messages, tensors) use plain malloc and answer
// ERR_NO_MEMORY.
void *mem_alloc(size_t size);
void *mem_zero(size_t count, size_t size);
void *mem_grow(void *old, size_t size);
char *mem_dup(const char *text);
char *mem_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
