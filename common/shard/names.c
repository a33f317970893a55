#include "shard/shard.h"

#include <stdlib.h>
#include <string.h>

static const char *const split_names[SHARD_SPLIT_COUNT] = {
#define X(split, word) word,
    SHARD_SPLITS(X)
#undef X
};

const char *shard_split_name(shard_split_t split) {
    ERR_ASSERT((unsigned)split < SHARD_SPLIT_COUNT);
    return split_names[split];
}

err_code_t shard_split_parse(const char *word, shard_split_t *split, err_t *err) {
    for (int i = 0; i < SHARD_SPLIT_COUNT; i++)
        if (strcmp(word, split_names[i]) == 0) {
            *split = (shard_split_t)i;
            return ERR_OK;
        }
    err_set(err, ERR_INVALID, "there is no split '%.32s'", word);
    return err_remedy(err, "use train, val or test");
}

// Length of the valid UTF-8 sequence at text (RFC 3629: no overlong forms, no surrogates), or 0.
static int utf8_length(const unsigned char *text) {
    unsigned char first = text[0];
    if (first < 0x80)
        return 1;
    int length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    for (int i = 1; i < length; i++, low = 0x80, high = 0xbf)
        if (text[i] < low || text[i] > high)
            return 0;
    return length;
}

char *shard_name_escape(const char *bytes) {
    static const char digits[] = "0123456789abcdef";
    char *text = mem_alloc(4 * strlen(bytes) + 1), *to = text;
    for (const unsigned char *from = (const unsigned char *)bytes; *from;) {
        int length = utf8_length(from);
        if (length == 0) {
            *to++ = '\\';
            *to++ = 'x';
            *to++ = digits[*from >> 4];
            *to++ = digits[*from & 15];
            from++;
            continue;
        }
        if (*from == '\\')
            *to++ = '\\';
        memcpy(to, from, (size_t)length);
        to += length;
        from += length;
    }
    *to = 0;
    return text;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *shard_name_unescape(const char *text) {
    char *bytes = mem_alloc(strlen(text) + 1), *to = bytes;
    while (*text) {
        if (text[0] == '\\' && text[1] == '\\') {
            *to++ = '\\';
            text += 2;
        } else if (text[0] == '\\' && text[1] == 'x' && hex_digit(text[2]) >= 0 &&
                   hex_digit(text[3]) >= 0) {
            *to++ = (char)(hex_digit(text[2]) << 4 | hex_digit(text[3]));
            text += 4;
        } else {
            *to++ = *text++;
        }
    }
    *to = 0;
    return bytes;
}
