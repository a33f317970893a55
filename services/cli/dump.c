// JSON as text whose numbers are the shortest ones that are read back equal.
#include "say_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_LEAST 15 // any decimal of so many is a double's own
#define DIGITS_MOST  17 // that tell every double from all others

void say_real(buf_t *out, double value) {
    char text[40];
    for (int digits = DIGITS_LEAST; digits <= DIGITS_MOST; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_puts(out, text);
}

// A number, from its first character on; whole ones stay as they are. Where it ends.
static const char *put_number(buf_t *out, const char *text) {
    size_t length = strspn(text, "+-0123456789.eE"), before = out->size;
    if (!memchr(text, '.', length) && !memchr(text, 'e', length)) {
        buf_append(out, text, length);
        return text + length;
    }
    say_real(out, strtod(text, NULL));
    if (!out->failed && !strpbrk(out->data + before, ".e")) // it stays a number that is not whole
        buf_puts(out, ".0");
    return text + length;
}

char *say_dump(const json_t *document, size_t flags) {
    char *long_form =
        json_dumps(document, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS_MOST));
    if (!long_form)
        return NULL;
    buf_t out;
    bool quoted = false;
    buf_init(&out, 2 * strlen(long_form) + 1); // 1e22 becomes 1e+22
    for (const char *at = long_form; *at;) {
        if (!quoted && (*at == '-' || (*at >= '0' && *at <= '9'))) {
            at = put_number(&out, at);
            continue;
        }
        if (quoted && *at == '\\')
            buf_append(&out, at++, 1);
        else if (*at == '"')
            quoted = !quoted;
        buf_append(&out, at++, 1);
    }
    free(long_form);
    return buf_take(&out);
}
