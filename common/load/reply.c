#include "load/reply.h"

#include <string.h>
#include <strings.h>

typedef struct {
    const char *at, *end; // what is left of the head
    reply_t *reply;
    bool has_length;
    err_t *err;
} reader_t;

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// RFC 9110's token characters.
static bool is_token(char c) {
    return c && (is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 strchr("!#$%&'*+-.^_`|~", c));
}

static err_code_t broken(reader_t *reader, const char *what) {
    return err_set(reader->err, ERR_PROTOCOL, "no HTTP/1.1 answer: %s", what);
}

// "HTTP/1.1 200 OK", the reason may be empty, its blank may not be left out.
static err_code_t read_status(reader_t *reader, const char *line, size_t size) {
    bool known =
        size >= 13 && (memcmp(line, "HTTP/1.1 ", 9) == 0 || memcmp(line, "HTTP/1.0 ", 9) == 0);
    if (!known || !is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]) ||
        line[12] != ' ')
        return broken(reader, "its first line is no status line");
    reply_t *reply = reader->reply;
    reply->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    reply->keeps = line[7] == '1';
    if (reply->status < 200 && reply->status >= 100)
        return err_set(reader->err, ERR_UNSUPPORTED,
                       "an interim answer (%d), which nobody asked for", reply->status);
    if (reply->status < 200 || reply->status > 599)
        return broken(reader, "its status is outside 200 to 599");
    return ERR_OK;
}

// Digits alone. SIZE_MAX: no number, or above limit.
static size_t read_number(const char *text, size_t size, size_t limit) {
    size_t value = 0;
    if (size == 0 || size > 15)
        return SIZE_MAX;
    for (size_t i = 0; i < size; i++) {
        if (!is_digit(text[i]))
            return SIZE_MAX;
        value = value * 10 + (size_t)(text[i] - '0');
    }
    return value <= limit ? value : SIZE_MAX;
}

static err_code_t read_length(reader_t *reader, const char *value, size_t size) {
    size_t length = read_number(value, size, SIZE_MAX - 1);
    if (reader->has_length)
        return broken(reader, "two Content-Length headers");
    if (length == SIZE_MAX)
        return broken(reader, "its Content-Length is no number");
    if (length > REPLY_BODY_MAX)
        return err_set(reader->err, ERR_TOO_LARGE, "an answer of %zu bytes; the limit is %u",
                       length, REPLY_BODY_MAX);
    reader->has_length = true;
    reader->reply->body_bytes = length;
    return ERR_OK;
}

// A word of a list "keep-alive, close".
static bool lists(const char *value, size_t size, const char *word) {
    size_t length = strlen(word);
    for (size_t i = 0; i < size;) {
        size_t end = i;
        while (end < size && value[end] != ',')
            end++;
        size_t from = i, to = end;
        while (from < to && (value[from] == ' ' || value[from] == '\t'))
            from++;
        while (to > from && (value[to - 1] == ' ' || value[to - 1] == '\t'))
            to--;
        if (to - from == length && strncasecmp(value + from, word, length) == 0)
            return true;
        i = end + 1;
    }
    return false;
}

static bool is_name(const char *name, size_t size, const char *wanted) {
    return size == strlen(wanted) && strncasecmp(name, wanted, size) == 0;
}

static err_code_t read_field(reader_t *reader, const char *name, size_t name_size,
                             const char *value, size_t size) {
    reply_t *reply = reader->reply;
    if (is_name(name, name_size, "Content-Length"))
        return read_length(reader, value, size);
    if (is_name(name, name_size, "Transfer-Encoding"))
        return err_set(reader->err, ERR_UNSUPPORTED,
                       "an answer with a Transfer-Encoding; only a Content-Length is understood");
    if (is_name(name, name_size, "Connection")) {
        if (lists(value, size, "close"))
            reply->keeps = false;
        else if (lists(value, size, "keep-alive"))
            reply->keeps = true;
    } else if (is_name(name, name_size, "Inference-Header-Content-Length")) {
        if (reply->json_bytes != SIZE_MAX)
            return broken(reader, "two Inference-Header-Content-Length headers");
        reply->json_bytes = read_number(value, size, REPLY_BODY_MAX);
        if (reply->json_bytes == SIZE_MAX)
            return broken(reader, "its Inference-Header-Content-Length is no number");
    }
    return ERR_OK;
}

static err_code_t read_header(reader_t *reader, const char *line, size_t size) {
    size_t name = 0;
    while (name < size && is_token(line[name]))
        name++;
    if (name == 0 || name == size || line[name] != ':')
        return broken(reader, "a header line is no \"Name: value\"");
    size_t from = name + 1, to = size;
    while (from < to && (line[from] == ' ' || line[from] == '\t'))
        from++;
    while (to > from && (line[to - 1] == ' ' || line[to - 1] == '\t'))
        to--;
    return read_field(reader, line, name, line + from, to - from);
}

// The next line without its CRLF; false: it is not complete, or no line (err is set then).
static bool next_line(reader_t *reader, const char **line, size_t *size, err_code_t *code) {
    const char *at = reader->at;
    while (at < reader->end && *at != '\n') {
        unsigned char c = (unsigned char)*at++;
        bool control = (c < 32 && c != '\t' && c != '\r') || c == 127;
        bool alone = c == '\r' && at < reader->end && *at != '\n';
        if (control || alone) {
            *code = broken(reader, "a control character in its head");
            return false;
        }
    }
    if (at == reader->end)
        return false;
    if (at == reader->at || at[-1] != '\r') {
        *code = broken(reader, "a line of its head ends without CR");
        return false;
    }
    *line = reader->at;
    *size = (size_t)(at - reader->at) - 1;
    reader->at = at + 1;
    return true;
}

static err_code_t finish(reader_t *reader, const char *bytes) {
    reply_t *reply = reader->reply;
    reply->head_bytes = (size_t)(reader->at - bytes);
    bool empty = reply->status == 204 || reply->status == 304;
    if (empty)
        reply->body_bytes = 0;
    else if (!reader->has_length)
        return err_set(reader->err, ERR_UNSUPPORTED, "an answer without a Content-Length");
    if (reply->json_bytes != SIZE_MAX && reply->json_bytes > reply->body_bytes)
        return broken(reader, "its Inference-Header-Content-Length is above its Content-Length");
    return ERR_OK;
}

err_code_t reply_read(const char *bytes, size_t size, reply_t *reply, bool *whole, err_t *err) {
    size_t seen = size < REPLY_HEAD_MAX ? size : REPLY_HEAD_MAX;
    reader_t reader = {.at = bytes, .end = bytes + seen, .reply = reply, .err = err};
    const char *line;
    size_t length;
    err_code_t code = ERR_OK;
    *reply = (reply_t){.json_bytes = SIZE_MAX};
    *whole = false;
    for (bool first = true; next_line(&reader, &line, &length, &code); first = false) {
        if (!first && length == 0) {
            *whole = true;
            return finish(&reader, bytes);
        }
        code = first ? read_status(&reader, line, length) : read_header(&reader, line, length);
        if (code)
            return code;
    }
    if (code == ERR_OK && seen == REPLY_HEAD_MAX)
        return err_set(err, ERR_TOO_LARGE, "the head of an answer is above %d bytes",
                       REPLY_HEAD_MAX);
    return code;
}
