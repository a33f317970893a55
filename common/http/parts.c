// Bodies of multipart/form-data (RFC 7578), read in place.
#include "http.h"

#include <string.h>
#include <strings.h>

#define BOUNDARY_MAX 70   // characters, by RFC 2046
#define HEAD_MAX     8192 // bytes of one part's head

typedef struct {
    const char *at, *end;
} text_t;

static err_code_t no_boundary(err_t *err) {
    err_set(err, ERR_INVALID, "Content-Type is no multipart/form-data with a boundary");
    return err_remedy(err, "Content-Type: multipart/form-data; boundary=…, of 1 to %d characters",
                      BOUNDARY_MAX);
}

static err_code_t malformed(size_t part, const char *what, err_t *err) {
    err_set(err, ERR_INVALID, "part %zu of the multipart body %s", part, what);
    return err_remedy(err, "each part is a line --boundary, its fields, an empty line and its "
                           "bytes; --boundary-- ends the last; lines end with CR LF");
}

// --- Fields and their parameters
// ------------------------------------------------------------------

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static void skip_blanks(text_t *text) {
    while (text->at < text->end && is_blank(*text->at))
        text->at++;
}

// What stands before one of the stops, or the end, without blanks around it.
static text_t word(text_t *text, const char *stops) {
    skip_blanks(text);
    text_t word = {text->at, text->at};
    while (text->at < text->end && !strchr(stops, *text->at))
        if (!is_blank(*text->at++))
            word.end = text->at;
    return word;
}

static bool is_word(text_t text, const char *name) {
    size_t size = strlen(name);
    return (size_t)(text.end - text.at) == size && strncasecmp(text.at, name, size) == 0;
}

static void put(char *out, size_t room, size_t *used, char c) {
    if (*used + 1 < room)
        out[(*used)++] = c;
}

// A value, with or without quotes; what does not fit is left out. False: a quote is missing, or
// something stands behind it.
static bool read_value(text_t *text, char *out, size_t room) {
    size_t used = 0;
    out[0] = 0;
    skip_blanks(text);
    if (text->at == text->end || *text->at != '"') {
        text_t bare = word(text, ";");
        while (bare.at < bare.end)
            put(out, room, &used, *bare.at++);
        out[used] = 0;
        return true;
    }
    for (text->at++; text->at < text->end && *text->at != '"'; text->at++) {
        const char *at = text->at;
        // Only these two are escaped: browsers send the backslashes of Windows paths as they are.
        if (*at == '\\' && at + 1 < text->end && (at[1] == '"' || at[1] == '\\'))
            text->at++;
        put(out, room, &used, *text->at);
    }
    out[used] = 0;
    if (text->at == text->end)
        return false;
    text->at++;
    skip_blanks(text);
    return text->at == text->end || *text->at == ';';
}

// The parameter of that name behind a field's first word: "; name=value".
static bool find_parameter(text_t text, const char *name, char *out, size_t room, bool *found) {
    *found = false;
    word(&text, ";");
    while (text.at < text.end) {
        text.at++; // the semicolon
        text_t key = word(&text, "=;");
        if (text.at == text.end || *text.at == ';')
            continue;
        text.at++; // the equals sign
        bool wanted = is_word(key, name) && !*found;
        char other[2];
        if (!read_value(&text, wanted ? out : other, wanted ? room : sizeof other))
            return false;
        *found = *found || wanted;
    }
    return true;
}

static err_code_t read_boundary(const char *type, char out[BOUNDARY_MAX + 2], err_t *err) {
    text_t text = {type, type ? type + strlen(type) : type}, first = text;
    bool found = false;
    if (!type || !is_word(word(&first, ";"), "multipart/form-data") ||
        !find_parameter(text, "boundary", out, BOUNDARY_MAX + 2, &found) || !found)
        return no_boundary(err);
    size_t size = strlen(out);
    return size > 0 && size <= BOUNDARY_MAX ? ERR_OK : no_boundary(err);
}

// --- Parts
// ----------------------------------------------------------------------------------------

typedef struct {
    text_t rest; // of the body
    char delimiter[BOUNDARY_MAX + 5];
    size_t delimiter_size; // CR LF -- boundary
    size_t part;           // its number
    bool last;             // the delimiter before rest was the last one
} parts_t;

// Behind a delimiter: "--", or blanks and the end of its line. False: it is none, but data.
static bool end_delimiter(parts_t *parts, const char *at) {
    const char *end = parts->rest.end;
    parts->last = end - at >= 2 && at[0] == '-' && at[1] == '-';
    if (!parts->last) {
        while (at < end && is_blank(*at))
            at++;
        if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
            return false;
    }
    parts->rest.at = at + 2;
    return true;
}

// What stands before the next delimiter; rest is then behind it. False: there is none.
static bool take_data(parts_t *parts, text_t *data) {
    const char *from = parts->rest.at, *end = parts->rest.end, *at;
    while ((at = memmem(from, (size_t)(end - from), parts->delimiter, parts->delimiter_size))) {
        *data = (text_t){parts->rest.at, at};
        if (end_delimiter(parts, at + parts->delimiter_size))
            return true;
        from = at + 2;
    }
    return false;
}

// What stands before the first delimiter is for nobody.
static bool skip_preamble(parts_t *parts) {
    const char *at = parts->rest.at;
    size_t size = parts->delimiter_size - 2;
    text_t ignored;
    if ((size_t)(parts->rest.end - at) >= size && memcmp(at, parts->delimiter + 2, size) == 0 &&
        end_delimiter(parts, at + size))
        return true;
    return take_data(parts, &ignored);
}

static const char *line_end(text_t rest) {
    return rest.end - rest.at < 2 ? NULL : memmem(rest.at, (size_t)(rest.end - rest.at), "\r\n", 2);
}

static bool take_disposition(text_t line, http_part_t *part) {
    text_t kind = line;
    bool named;
    return is_word(word(&kind, ";"), "form-data") &&
           find_parameter(line, "name", part->name, sizeof part->name, &named) &&
           find_parameter(line, "filename", part->file, sizeof part->file, &part->has_file);
}

static bool is_plain(text_t encoding) {
    text_t first = word(&encoding, ";");
    return is_word(first, "binary") || is_word(first, "8bit") || is_word(first, "7bit");
}

static err_code_t take_field(const parts_t *parts, text_t line, http_part_t *part, err_t *err) {
    text_t name = word(&line, ":");
    if (line.at == line.end)
        return malformed(parts->part, "has a field without a colon", err);
    line.at++;
    if (is_word(name, "Content-Disposition") && !take_disposition(line, part))
        return malformed(parts->part, "has a Content-Disposition that is no form-data", err);
    if (is_word(name, "Content-Transfer-Encoding") && !is_plain(line))
        return malformed(parts->part, "has a Content-Transfer-Encoding; send it as it is", err);
    return ERR_OK;
}

static err_code_t take_head(parts_t *parts, http_part_t *part, err_t *err) {
    const char *begin = parts->rest.at, *end;
    text_t rest = parts->rest;
    if (rest.end - begin > HEAD_MAX)
        rest.end = begin + HEAD_MAX;
    while ((end = line_end(rest))) {
        text_t line = {rest.at, end};
        parts->rest.at = rest.at = end + 2;
        if (line.at == line.end)
            return ERR_OK;
        err_code_t code = take_field(parts, line, part, err);
        if (code)
            return code;
    }
    return malformed(parts->part,
                     parts->rest.end - begin > HEAD_MAX ? "has too many fields" : "is cut off",
                     err);
}

static err_code_t take_part(parts_t *parts, http_part_fn fn, void *arg, err_t *err) {
    http_part_t part = {.name = "", .file = ""};
    text_t data;
    err_code_t code = take_head(parts, &part, err);
    if (code)
        return code;
    parts->rest.at -= 2; // an empty part's delimiter begins with the CR LF of the empty line
    if (!take_data(parts, &data))
        return malformed(parts->part, "is cut off", err);
    part.data = data.at < data.end ? data.at + 2 : data.end;
    part.size = data.at < data.end ? (size_t)(data.end - data.at) - 2 : 0;
    return fn(arg, &part, err);
}

err_code_t http_parts(const char *type, const char *body, size_t size, http_part_fn fn, void *arg,
                      err_t *err) {
    parts_t parts = {.rest = {body, body + size}};
    char boundary[BOUNDARY_MAX + 2];
    err_code_t code = read_boundary(type, boundary, err);
    if (code)
        return code;
    memcpy(parts.delimiter, "\r\n--", 4);
    parts.delimiter_size = 4 + strlen(boundary);
    memcpy(parts.delimiter + 4, boundary, parts.delimiter_size - 4);
    if (!skip_preamble(&parts)) {
        err_set(err, ERR_INVALID, "the multipart body has no line --%s", boundary);
        return err_remedy(err, "its parts are divided by the boundary that Content-Type tells");
    }
    while (code == ERR_OK && !parts.last) {
        parts.part++;
        code = take_part(&parts, fn, arg, err);
    }
    return code;
}
