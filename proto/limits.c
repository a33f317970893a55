// What a field may hold: checked alike before it is sent and after it has come.
#include "codec_impl.h"

#include "base/utf8.h"

#include <stdbool.h>

err_code_t field_bad(err_t *err, const proto_message_t *about, const proto_field_t *field,
                     const char *what) {
    return err_set(err, ERR_INVALID, "%s: %s %s", about->wire, field->name, what);
}

err_code_t field_text(const proto_message_t *about, const proto_field_t *field, const char *text,
                      size_t size, double min, double max, err_t *err) {
    if (!utf8_valid(text, size))
        return field_bad(err, about, field, "is no UTF-8 text (or holds a NUL)");
    if ((double)size < min)
        return field_bad(err, about, field, "is empty");
    if ((double)size > max)
        return err_set(err, ERR_INVALID, "%s: %s has %zu bytes; the limit is %.0f", about->wire,
                       field->name, size, max);
    return ERR_OK;
}

err_code_t field_number(const proto_message_t *about, const proto_field_t *field, double value,
                        err_t *err) {
    if (value >= field->min && value <= field->max)
        return ERR_OK;
    return err_set(err, ERR_INVALID, "%s: %s is %.10g; it must be between %.10g and %.16g",
                   about->wire, field->name, value, field->min, field->max);
}

// Whole numbers are compared as such: 2^53 + 1 is 2^53 as a double.
err_code_t field_whole(const proto_message_t *about, const proto_field_t *field, uint64_t value,
                       err_t *err) {
    if (value >= (uint64_t)field->min && value <= (uint64_t)field->max)
        return ERR_OK;
    return err_set(err, ERR_INVALID, "%s: %s is %llu; it must be between %.0f and %.0f",
                   about->wire, field->name, (unsigned long long)value, field->min, field->max);
}

err_code_t field_count(const proto_message_t *about, const proto_field_t *field, size_t count,
                       err_t *err) {
    double min = field->kind == PROTO_STRS ? field->min : 0;
    if ((double)count >= min && (double)count <= field->max)
        return ERR_OK;
    return err_set(err, ERR_INVALID, "%s: %s has %zu entries; it must have %.0f to %.0f",
                   about->wire, field->name, count, min, field->max);
}
