// Well-formed UTF-8 (RFC 3629).
#ifndef INKLING_BASE_UTF8_H
#define INKLING_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

// Length of the well-formed sequence at text, which has size bytes left; 0 if there is none. A NUL
// is one.
static inline size_t utf8_length(const char *text, size_t size) {
    const unsigned char *c = (const unsigned char *)text;
    if (size == 0)
        return 0;
    if (c[0] < 0x80)
        return 1;
    size_t length = c[0] >= 0xc2 && c[0] <= 0xdf   ? 2
                    : c[0] >= 0xe0 && c[0] <= 0xef ? 3
                    : c[0] >= 0xf0 && c[0] <= 0xf4 ? 4
                                                   : 0;
    if (length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
        (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    return length;
}

// The whole text is well-formed and holds no NUL.
static inline bool utf8_valid(const char *text, size_t size) {
    while (size > 0) {
        size_t length = *text ? utf8_length(text, size) : 0;
        if (length == 0)
            return false;
        text += length;
        size -= length;
    }
    return true;
}

#endif
