// JSON (RFC 8259) read in place, without memory of its own: a value is the span of its text.
//
// scan_document checks the whole text once; spans inside it are then well-formed, and the functions
// that walk them cannot fail on syntax.
#ifndef INKLING_OIP_SCAN_IMPL_H
#define INKLING_OIP_SCAN_IMPL_H

#include "base/err.h"

#include <stdint.h>

#define SCAN_DEPTH_MAX 32

typedef struct {
    const char *at, *end; // at: its first character; NULL: absent
} span_t;

// The one value of the text. ERR_INVALID names the byte that is wrong.
err_code_t scan_document(const char *text, size_t size, span_t *value, err_t *err);

// '{', '[', '"', '0' for a number, 't', 'f', 'n'; 0 for an absent one.
char scan_kind(span_t value);

// The members of an object or elements of an array: *rest is the value at first, and then what is
// left of it. False at the end.
bool scan_member(span_t *rest, span_t *key, span_t *value);
bool scan_element(span_t *rest, span_t *value);

// A string's text with its escapes undone, NUL-terminated. False: it is no string, has a NUL inside
// or does not fit.
bool scan_text(span_t value, char *out, size_t room);
bool scan_is(span_t value, const char *text); // a string of just that text
// The next four characters inside a string, of which text is the rest, escapes undone (many writers
// of JSON escape + and /). False: there are fewer, or one is not ASCII; text is then left alone.
bool scan_four(span_t *text, char out[4]);
bool scan_int(span_t value, int64_t *out); // a number without fraction or exponent, in range
bool scan_bool(span_t value, bool *out);

// Every number of an array, its arrays inside opened, in order. At the first element that is
// neither: false, and where it is in *other; *other is absent at the end.
bool scan_number(span_t *rest, span_t *number, span_t *other);

#endif
