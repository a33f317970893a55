#include "data_impl.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// --- Numbers
// --------------------------------------------------------------------------------------

static err_code_t wrong_number(span_t number, size_t index, bool is_float, err_t *err) {
    size_t shown = (size_t)(number.end - number.at);
    err_set(err, ERR_INVALID, "pixels: data[%zu] is %.*s", index, (int)(shown < 32 ? shown : 32),
            number.at);
    return err_remedy(err,
                      is_float ? "give finite numbers" : "UINT8 takes whole numbers, 0 to 255");
}

static bool read_uint8(span_t number, uint8_t *out) {
    unsigned sum = 0;
    for (const char *at = number.at; at < number.end; at++) {
        if (*at < '0' || *at > '9' || number.end - number.at > 3)
            return false;
        sum = sum * 10 + (unsigned)(*at - '0');
    }
    *out = (uint8_t)sum;
    return sum <= 255;
}

static locale_t c_locale;

static void make_locale(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

locale_t data_locale(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_locale);
    return c_locale;
}

// In place: something that belongs to no number always stands behind one.
static bool read_float(span_t number, float *out) {
    *out = strtof_l(number.at, NULL, data_locale());
    return isfinite(*out);
}

err_code_t data_numbers(span_t data, bool is_float, size_t count, void *out, err_t *err) {
    span_t number, other;
    size_t index = 0;
    while (scan_number(&data, &number, &other)) {
        if (index < count && (is_float ? !read_float(number, (float *)out + index)
                                       : !read_uint8(number, (uint8_t *)out + index)))
            return wrong_number(number, index, is_float, err);
        index++;
    }
    if (other.at) {
        err_set(err, ERR_INVALID, "pixels: data[%zu] is no number", index);
        return err_remedy(err, "give numbers, in nested arrays or in one");
    }
    if (index == count)
        return ERR_OK;
    err_set(err, ERR_INVALID, "pixels: data has %zu numbers; its shape has room for %zu", index,
            count);
    return err_remedy(err, "give rows × height × width × channels of them");
}

err_code_t data_check_finite(const void *floats, size_t count, err_t *err) {
    for (size_t i = 0; i < count; i++) {
        float number;
        memcpy(&number, (const char *)floats + i * sizeof number, sizeof number);
        if (isfinite(number))
            continue;
        err_set(err, ERR_INVALID, "pixels: number %zu is not finite", i);
        return err_remedy(err, "give finite numbers");
    }
    return ERR_OK;
}

// --- Files
// ----------------------------------------------------------------------------------------

static int sextet(char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

// Bytes, or SIZE_MAX: it is no base64 (RFC 4648, with its padding, without line breaks).
static size_t read_base64(span_t text, char *out) {
    char four[4];
    size_t used = 0;
    int pads = 0;
    while (scan_four(&text, four)) {
        uint32_t word = 0;
        if (pads > 0)
            return SIZE_MAX; // something stands behind the padding
        pads = (four[3] == '=') + (four[3] == '=' && four[2] == '=');
        for (int k = 0; k < 4 - pads; k++) {
            int six = sextet(four[k]);
            if (six < 0)
                return SIZE_MAX;
            word |= (uint32_t)six << (18 - 6 * k);
        }
        for (int k = 0; k < 3 - pads; k++)
            out[used++] = (char)(word >> (16 - 8 * k));
    }
    return text.at == text.end ? used : SIZE_MAX;
}

size_t data_strings_size(span_t data) {
    return (size_t)(data.end - data.at) / 4 * 3 + 3;
}

err_code_t data_strings(span_t data, size_t count, oip_file_t *files, char *room, err_t *err) {
    span_t element;
    size_t index = 0;
    while (scan_element(&data, &element)) {
        if (index < count) {
            span_t text = {element.at + 1, element.end - 1}; // without its quotes
            size_t size = scan_kind(element) == '"' ? read_base64(text, room) : SIZE_MAX;
            if (size == SIZE_MAX) {
                err_set(err, ERR_INVALID, "image: data[%zu] is no base64 string", index);
                return err_remedy(err, "give each file's bytes as base64, or as binary data");
            }
            files[index] = (oip_file_t){room, size};
            room += size;
        }
        index++;
    }
    if (index == count)
        return ERR_OK;
    err_set(err, ERR_INVALID, "image: data has %zu elements; its shape has %zu", index, count);
    return err_remedy(err, "give one for each file");
}

err_code_t data_files(const char *bytes, size_t size, size_t count, oip_file_t *files, err_t *err) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t head[4];
        if (size - at < sizeof head) {
            err_set(err, ERR_INVALID, "image: its %zu bytes end before element %zu of %zu", size, i,
                    count);
            return err_remedy(err,
                              "each element is its size (4 bytes, little-endian) and its bytes");
        }
        memcpy(head, bytes + at, sizeof head);
        at += sizeof head;
        size_t length =
            (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        if (length > size - at) {
            err_set(err, ERR_INVALID, "image: element %zu says %zu bytes; %zu are left", i, length,
                    size - at);
            return err_remedy(err,
                              "each element is its size (4 bytes, little-endian) and its bytes");
        }
        files[i] = (oip_file_t){bytes + at, length};
        at += length;
    }
    if (at == size)
        return ERR_OK;
    err_set(err, ERR_INVALID, "image: %zu bytes are left behind element %zu", size - at, count - 1);
    return err_remedy(err, "shape and binary_data_size must agree");
}
