// Log lines on stderr, as text or as one JSON object a line. Thread-safe: a line is one write().
//
// Text:  2026-01-31T12:00:00.123Z info  dispatcher: job 17 leased  job=17 worker=trainer-0
// JSON:
// {"time":"2026-…","level":"info","service":"dispatcher","message":"…","job":"17","worker":"trainer-0"}
//
// Secrets never go through here: callers log names of keys, not keys.
#ifndef INKLING_BASE_LOG_H
#define INKLING_BASE_LOG_H

#include <stdbool.h>

typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level_t;

// service: a name put before each line, copied. Call once, before threads start; without it lines
// are text, level info, no name.
void log_setup(const char *service, log_level_t level, bool json);
// False if the name is none of debug, info, warn, error.
bool log_level_parse(const char *name, log_level_t *level);

// fields: pairs of key and value (const char *), ended by a NULL key. Values are escaped.
// log_write(LOG_INFO, (const char *[]){"job", id, NULL}, "leased to %s", worker);
void log_write(log_level_t level, const char *const *fields, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Levels by number: foreign headers (CZMQ's) bring <syslog.h>, whose LOG_DEBUG and LOG_INFO are
// other values and would be taken where a macro is expanded.
#define log_debug(...) log_write((log_level_t)0, 0, __VA_ARGS__)
#define log_info(...)  log_write((log_level_t)1, 0, __VA_ARGS__)
#define log_warn(...)  log_write((log_level_t)2, 0, __VA_ARGS__)
#define log_error(...) log_write((log_level_t)3, 0, __VA_ARGS__)

#endif
