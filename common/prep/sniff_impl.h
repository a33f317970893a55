// What the first bytes of a file say it is, and whether a file of that kind is there to its end.
#ifndef INKLING_PREP_SNIFF_IMPL_H
#define INKLING_PREP_SNIFF_IMPL_H

#include "base/err.h"

#include <stdint.h>

typedef enum { SNIFF_JPEG, SNIFF_PNG, SNIFF_WEBP, SNIFF_GIF, SNIFF_TIFF } sniff_format_t;

const char *sniff_name(sniff_format_t format);
// ERR_INVALID: empty, text or unknown bytes; ERR_UNSUPPORTED: a format that is known and not read.
err_code_t sniff_format(const uint8_t *bytes, size_t size, sniff_format_t *format, err_t *err);
// ERR_CORRUPT if the file's own structure says that bytes are missing at its end (PNG, WebP and
// GIF; the decoders see it for the others).
err_code_t sniff_complete(const uint8_t *bytes, size_t size, sniff_format_t format, err_t *err);

#endif
