#include "say_impl.h"

#include "base/utf8.h"
#include "verbs_impl.h"

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool as_json;

void say_setup(bool json) {
    as_json = json;
}

bool say_is_json(void) {
    return as_json;
}

bool say_terminal(FILE *stream) {
    const char *kind = getenv("TERM");
    return isatty(fileno(stream)) && kind && strcmp(kind, "dumb") != 0;
}

const char *say_style(FILE *stream, say_style_t style) {
    static const char *const codes[] = {
        [SAY_PLAIN] = "\033[0m", [SAY_BOLD] = "\033[1m", [SAY_DIM] = "\033[2m",
        [SAY_GOOD] = "\033[32m", [SAY_BAD] = "\033[31m", [SAY_WARN] = "\033[33m"};
    const char *no_color = getenv("NO_COLOR");
    return (no_color && *no_color) || !say_terminal(stream) ? "" : codes[style];
}

say_style_t say_state_style(const char *state) {
    if (strcmp(state, "succeeded") == 0 || strcmp(state, "idle") == 0)
        return SAY_GOOD;
    if (strcmp(state, "failed") == 0 || strcmp(state, "dead") == 0 || strcmp(state, "lost") == 0)
        return SAY_BAD;
    return strcmp(state, "queued") == 0 ? SAY_PLAIN : SAY_WARN;
}

// --- Documents and errors

// With as many digits as it takes for every number to be read back as the same one.
void say_json(json_t *document) {
    char *text = say_dump(document, JSON_INDENT(2));
    puts(text ? text : "null");
    free(text);
    json_decref(document);
}

void say_answer(const char *key, const buf_t *text) {
    const char *data = text->data ? text->data : "";
    if (as_json)
        say_json(json_pack("{s:o}", key, say_json_text(data)));
    else
        fputs(data, stdout);
}

json_t *say_error_json(const char *code, const char *message, const char *remedy) {
    json_t *error = json_object();
    json_object_set_new(error, "code", say_json_text(code));
    json_object_set_new(error, "message", say_json_text(message));
    json_object_set_new(error, "remedy", say_json_text(remedy ? remedy : ""));
    return error;
}

int say_exit_code(err_code_t code) {
    switch (code) {
    case ERR_OK:
        return 0;
    case ERR_USAGE:
    case ERR_INVALID:
        return 2;
    case ERR_NOT_FOUND:
        return 3;
    case ERR_DENIED:
    case ERR_UNAVAILABLE:
    case ERR_NOT_LEADER:
    case ERR_FULL:
    case ERR_TIMEOUT:
        return 4;
    default:
        return 1;
    }
}

static void put_told(say_style_t style, const char *word, const err_t *err) {
    buf_t text;
    buf_init(&text, 8192);
    buf_printf(&text, "%sinkling:%s %s", say_style(stderr, style), say_style(stderr, SAY_PLAIN),
               word);
    say_text(&text, err->message);
    if (err->remedy[0]) {
        buf_puts(&text, "\n  ");
        say_text(&text, err->remedy);
    }
    fprintf(stderr, "%s\n", text.data);
    buf_release(&text);
}

void say_warning(const err_t *err) {
    put_told(SAY_WARN, "warning: ", err);
}

int say_error(const err_t *err, const json_t *more) {
    put_told(SAY_BAD, "", err);
    if (as_json) {
        json_t *document = json_object();
        json_object_set_new(document, "error",
                            say_error_json(err_name(err->code), err->message, err->remedy));
        if (more)
            json_object_update_missing(document, (json_t *)more);
        say_json(document);
    }
    return say_exit_code(err->code);
}

// Whoever closes a pipe, as head does, has read what he wanted.
static bool is_unread(void) {
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) > 0 && (out.revents & POLLERR);
}

int say_end(int exit_code) {
    err_t err;
    bool failed = ferror(stdout); // of an earlier write: by now nobody knows why
    bool left = fflush(stdout) != 0;
    if (!failed && !left)
        return exit_code;
    if (left)
        err_set_errno(&err, "standard output cannot be written");
    else
        err_set(&err, ERR_IO, "standard output cannot be written");
    err_remedy(&err, "the answer is not whole there: make room, or send it elsewhere");
    if (!is_unread())
        put_told(SAY_BAD, "", &err);
    return exit_code ? exit_code : 1;
}

// --- Words and figures

void say_text(buf_t *out, const char *text) {
    for (size_t left = strlen(text); left > 0;) {
        size_t length = utf8_length(text, left);
        unsigned char c = (unsigned char)*text;
        bool control = c < 32 || c == 127 || (c == 0xc2 && (unsigned char)text[1] < 0xa0);
        if (length == 0 || control)
            buf_printf(out, "\\x%02x", c);
        else
            buf_append(out, text, length);
        length = length == 0 || control ? 1 : length;
        text += length;
        left -= length;
    }
}

json_t *say_json_text(const char *bytes) {
    json_t *value = json_string(bytes);
    if (value)
        return value;
    buf_t text;
    buf_init(&text, 4 * strlen(bytes) + 1);
    for (size_t left = strlen(bytes); left > 0;) {
        size_t length = utf8_length(bytes, left);
        if (length == 0)
            buf_printf(&text, "\\x%02x", (unsigned char)*bytes);
        else
            buf_append(&text, bytes, length);
        bytes += length ? length : 1;
        left -= length ? length : 1;
    }
    value = json_string(text.data);
    buf_release(&text);
    return value;
}

void say_duration(double ms, char text[32]) {
    double s = ms / 1000;
    if (s < 1)
        snprintf(text, 32, "%.0f ms", ms);
    else if (s < 60)
        snprintf(text, 32, "%.1f s", s);
    else if (s < 3600)
        snprintf(text, 32, "%d min %02d s", (int)s / 60, (int)s % 60);
    else if (s < 86400)
        snprintf(text, 32, "%d h %02d min", (int)s / 3600, (int)s / 60 % 60);
    else
        snprintf(text, 32, "%.0f d %02d h", floor(s / 86400), (int)fmod(s / 3600, 24));
}

void say_when(uint64_t wall_ms, char text[32]) {
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    if (wall_ms == 0 || !localtime_r(&seconds, &parts) ||
        strftime(text, 32, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        snprintf(text, 32, "-");
}

void say_number(double value, char text[32]) {
    snprintf(text, 32, value == floor(value) && fabs(value) < 1e15 ? "%.0f" : "%.4g", value);
}

static void put_list(buf_t *out, const json_t *list) {
    size_t i;
    const json_t *value;
    json_array_foreach(list, i, value) {
        bool nested = json_is_array(value);
        buf_puts(out, i ? ", " : "");
        buf_puts(out, nested ? "[" : "");
        say_value(out, value);
        buf_puts(out, nested ? "]" : "");
    }
}

void say_value(buf_t *out, const json_t *value) {
    char number[32];
    switch (json_typeof(value)) {
    case JSON_STRING:
        say_text(out, json_string_value(value));
        return;
    case JSON_INTEGER:
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        say_number(json_real_value(value), number);
        buf_puts(out, number);
        return;
    case JSON_ARRAY:
        put_list(out, value);
        return;
    case JSON_OBJECT:
        say_pairs(out, value, "");
        return;
    default:
        buf_puts(out, json_is_null(value) ? "-" : json_is_true(value) ? "yes" : "no");
    }
}

static bool is_empty(const json_t *value) {
    return json_is_null(value) || (json_is_string(value) && !*json_string_value(value));
}

void say_pairs(buf_t *out, const json_t *object, const char *but) {
    const char *key, *gap = "";
    const json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        if (verb_in_list(but, key) || is_empty(value))
            continue;
        buf_puts(out, gap);
        say_text(out, key);
        buf_puts(out, " ");
        say_value(out, value);
        gap = "  ";
    }
}
