#include "base/log.h"

#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char service_name[64];
static log_level_t lowest = LOG_INFO;
static bool as_json;
static const char *const names[] = {"debug", "info", "warn", "error"};

void log_setup(const char *service, log_level_t level, bool json) {
    snprintf(service_name, sizeof service_name, "%s", service ? service : "");
    lowest = level;
    as_json = json;
}

bool log_level_parse(const char *name, log_level_t *level) {
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
        if (strcmp(name, names[i]) == 0) {
            *level = (log_level_t)i;
            return true;
        }
    return false;
}

static void put_time(buf_t *line) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    buf_printf(line, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

// Text lines stay one line: control characters are shown as \xNN.
static void put_plain(buf_t *line, const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < 32 || *c == 127)
            buf_printf(line, "\\x%02x", *c);
        else
            buf_append(line, c, 1);
}

static void put_json(buf_t *line, const char *const *fields, const char *level, const char *text) {
    buf_puts(line, "{\"time\":\"");
    put_time(line);
    buf_printf(line, "\",\"level\":\"%s\",\"service\":", level);
    buf_json_string(line, service_name);
    buf_puts(line, ",\"message\":");
    buf_json_string(line, text);
    for (; fields && fields[0]; fields += 2) {
        buf_puts(line, ",");
        buf_json_string(line, fields[0]);
        buf_puts(line, ":");
        buf_json_string(line, fields[1] ? fields[1] : "");
    }
    buf_puts(line, "}\n");
}

static void put_text(buf_t *line, const char *const *fields, const char *level, const char *text) {
    put_time(line);
    buf_printf(line, " %-5s ", level);
    if (service_name[0])
        buf_printf(line, "%s: ", service_name);
    put_plain(line, text);
    for (; fields && fields[0]; fields += 2) {
        buf_printf(line, "  %s=", fields[0]);
        put_plain(line, fields[1] ? fields[1] : "");
    }
    buf_puts(line, "\n");
}

void log_write(log_level_t level, const char *const *fields, const char *format, ...) {
    if (level < lowest)
        return;
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_t line;
    buf_init(&line, 16384);
    (as_json ? put_json : put_text)(&line, fields, names[level], text);
    // A log that cannot be written has nowhere to complain.
    ssize_t written = write(STDERR_FILENO, line.data, line.size);
    (void)written;
    buf_release(&line);
}
