// The values of an input, from JSON or from bytes behind it.
#ifndef INKLING_OIP_DATA_IMPL_H
#define INKLING_OIP_DATA_IMPL_H

#include "oip/oip.h"

#include "scan_impl.h"

#include <locale.h>

// That of JSON, whatever the program's is.
locale_t data_locale(void);
// From JSON: count numbers as UINT8 or float, or count base64 strings.
err_code_t data_numbers(span_t data, bool is_float, size_t count, void *out, err_t *err);
err_code_t data_strings(span_t data, size_t count, oip_file_t *files, char *room, err_t *err);
// Bytes that the strings of data will take at most.
size_t data_strings_size(span_t data);
// From bytes: files as u32 (little-endian) size and bytes, one behind the other, count of them.
err_code_t data_files(const char *bytes, size_t size, size_t count, oip_file_t *files, err_t *err);
err_code_t data_check_finite(const void *floats, size_t count, err_t *err);

#endif
