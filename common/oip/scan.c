#include "scan_impl.h"

#include <stdlib.h>
#include <string.h>

// --- The grammar
// ----------------------------------------------------------------------------------

static const char *blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// Each returns the end of what it reads, or NULL and where it is wrong in *wrong.
static const char *string(const char *at, const char *end, const char **wrong) {
    for (at++; at < end; at++) {
        *wrong = at;
        if (*at == '"')
            return at + 1;
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at != '\\')
            continue;
        if (++at == end)
            return NULL;
        if (*at == 'u') {
            for (int i = 0; i < 4; i++)
                if (++at == end || !is_hex(*at))
                    return NULL;
        } else if (*at == 0 || !strchr("\"\\/bfnrt", *at)) {
            return NULL;
        }
    }
    *wrong = end;
    return NULL;
}

static const char *digits(const char *at, const char *end) {
    while (at < end && is_digit(*at))
        at++;
    return at;
}

static const char *number(const char *at, const char *end, const char **wrong) {
    const char *begin = at += *at == '-';
    at = digits(at, end);
    *wrong = at;
    if (at == begin || (*begin == '0' && at - begin > 1))
        return NULL;
    if (at < end && *at == '.') {
        begin = ++at;
        *wrong = at = digits(at, end);
        if (at == begin)
            return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        begin = at;
        *wrong = at = digits(at, end);
        if (at == begin)
            return NULL;
    }
    return at;
}

static const char *word(const char *at, const char *end, const char *text) {
    size_t size = strlen(text);
    return (size_t)(end - at) >= size && memcmp(at, text, size) == 0 ? at + size : NULL;
}

static const char *scalar(const char *at, const char *end, const char **wrong) {
    *wrong = at;
    if (at == end)
        return NULL;
    switch (*at) {
    case '"':
        return string(at, end, wrong);
    case 't':
        return word(at, end, "true");
    case 'f':
        return word(at, end, "false");
    case 'n':
        return word(at, end, "null");
    default:
        return *at == '-' || is_digit(*at) ? number(at, end, wrong) : NULL;
    }
}

static const char *key(const char *at, const char *end, const char **wrong) {
    at = blanks(at, end);
    *wrong = at;
    if (at == end || *at != '"' || !(at = string(at, end, wrong)))
        return NULL;
    at = blanks(at, end);
    *wrong = at;
    return at < end && *at == ':' ? at + 1 : NULL;
}

// Without recursion: open[] has the brackets that are open.
static const char *value(const char *at, const char *end, const char **wrong) {
    char open[SCAN_DEPTH_MAX];
    int depth = 0;
    for (;;) {
        at = blanks(at, end);
        *wrong = at;
        if (at < end && (*at == '{' || *at == '[')) {
            if (depth == SCAN_DEPTH_MAX)
                return NULL;
            open[depth++] = *at++;
            at = blanks(at, end);
            if (at < end && *at == (open[depth - 1] == '{' ? '}' : ']'))
                goto closing;
            if (open[depth - 1] == '{' && !(at = key(at, end, wrong)))
                return NULL;
            continue;
        }
        if (!(at = scalar(at, end, wrong)))
            return NULL;
        for (;;) { // behind a value
            if (depth == 0)
                return at;
            at = blanks(at, end);
            *wrong = at;
            if (at < end && *at == ',') {
                at++;
                if (open[depth - 1] == '{' && !(at = key(at, end, wrong)))
                    return NULL;
                break;
            }
            if (at == end || *at != (open[depth - 1] == '{' ? '}' : ']'))
                return NULL;
        closing:
            at++;
            depth--;
        }
    }
}

err_code_t scan_document(const char *text, size_t size, span_t *out, err_t *err) {
    const char *end = text + size, *wrong = text;
    const char *at = value(text, end, &wrong);
    if (at) {
        *out = (span_t){blanks(text, end), at};
        wrong = blanks(at, end);
        if (wrong == end)
            return ERR_OK;
    }
    err_set(err, ERR_INVALID, "the JSON is wrong at byte %zu of %zu", (size_t)(wrong - text), size);
    return err_remedy(err,
                      "send one whole value as RFC 8259 has it, nested %d deep at most; NaN "
                      "and Infinity are no JSON",
                      SCAN_DEPTH_MAX);
}

// --- Walking
// --------------------------------------------------------------------------------------

char scan_kind(span_t span) {
    if (!span.at)
        return 0;
    return *span.at == '-' || is_digit(*span.at) ? '0' : *span.at;
}

static const char *end_of(const char *at, const char *end) {
    const char *wrong, *behind = value(at, end, &wrong);
    ERR_ASSERT(behind);
    return behind;
}

// To the next member or element; NULL at the end.
static const char *next(span_t *rest) {
    const char *at = rest->at;
    if (at == rest->end)
        return NULL;
    at = blanks(at + 1, rest->end); // behind the bracket or the comma
    return at == rest->end || *at == '}' || *at == ']' ? NULL : at;
}

static span_t take(span_t *rest, const char *at) {
    span_t span = {at, end_of(at, rest->end)};
    rest->at = blanks(span.end, rest->end);
    return span;
}

bool scan_member(span_t *rest, span_t *name, span_t *out) {
    const char *at = next(rest);
    if (!at)
        return false;
    *name = (span_t){at, end_of(at, rest->end)};
    at = blanks(name->end, rest->end) + 1; // behind the colon
    *out = take(rest, blanks(at, rest->end));
    return true;
}

bool scan_element(span_t *rest, span_t *out) {
    const char *at = next(rest);
    if (!at)
        return false;
    *out = take(rest, at);
    return true;
}

bool scan_number(span_t *rest, span_t *out, span_t *other) {
    const char *at = rest->at, *end = rest->end;
    *other = (span_t){NULL, NULL};
    while (at < end && (*at == '[' || *at == ']' || *at == ',' || *at == ' ' || *at == '\n' ||
                        *at == '\r' || *at == '\t'))
        at++;
    rest->at = at;
    if (at == end)
        return false;
    const char *wrong;
    *out = (span_t){at, *at == '-' || is_digit(*at) ? number(at, end, &wrong) : NULL};
    if (!out->end) {
        *other = (span_t){at, end};
        return false;
    }
    rest->at = out->end;
    return true;
}

// --- Values
// ---------------------------------------------------------------------------------------

static unsigned hex4(const char *at) {
    unsigned code = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        code = code << 4 | (unsigned)(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return code;
}

static size_t put_utf8(unsigned code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

// *at is behind the backslash, and comes behind the escape. A lone surrogate becomes U+FFFD.
static size_t unescape(const char **at, const char *end, char out[4]) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (**at != 'u') {
        out[0] = to[strchr(from, *(*at)++) - from];
        return 1;
    }
    unsigned code = hex4(*at + 1);
    *at += 5;
    if (code >= 0xd800 && code < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        unsigned low = hex4(*at + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            *at += 6;
            return put_utf8(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00), out);
        }
    }
    return put_utf8(code >= 0xd800 && code < 0xe000 ? 0xfffd : code, out);
}

bool scan_text(span_t span, char *out, size_t room) {
    if (scan_kind(span) != '"')
        return false;
    size_t used = 0;
    for (const char *at = span.at + 1, *end = span.end - 1; at < end;) {
        char piece[4] = {*at};
        size_t size = 1;
        if (*at++ == '\\')
            size = unescape(&at, end, piece);
        if (piece[0] == 0 || used + size >= room)
            return false;
        memcpy(out + used, piece, size);
        used += size;
    }
    out[used] = 0;
    return true;
}

bool scan_four(span_t *text, char out[4]) {
    const char *at = text->at;
    for (int i = 0; i < 4; i++) {
        char piece[4];
        if (at == text->end)
            return false;
        out[i] = *at++;
        if (out[i] != '\\')
            continue;
        if (unescape(&at, text->end, piece) != 1)
            return false;
        out[i] = piece[0];
    }
    text->at = at;
    return true;
}

bool scan_is(span_t span, const char *text) {
    char copy[64];
    return scan_text(span, copy, sizeof copy) && strcmp(copy, text) == 0;
}

bool scan_int(span_t span, int64_t *out) {
    if (scan_kind(span) != '0' || span.end - span.at > 19)
        return false;
    bool minus = *span.at == '-';
    int64_t sum = 0;
    for (const char *at = span.at + minus; at < span.end; at++) {
        if (!is_digit(*at) || sum > (INT64_MAX - 9) / 10)
            return false;
        sum = sum * 10 + (*at - '0');
    }
    *out = minus ? -sum : sum;
    return true;
}

bool scan_bool(span_t span, bool *out) {
    char kind = scan_kind(span);
    *out = kind == 't';
    return kind == 't' || kind == 'f';
}
