// EXIF orientation. 1: as stored … 8; see orient in canvas.c.
#ifndef INKLING_PREP_EXIF_IMPL_H
#define INKLING_PREP_EXIF_IMPL_H

#include <stddef.h>
#include <stdint.h>

// app1: the data of a JPEG's APP1 marker. 1 if it is no EXIF, has no orientation or is damaged.
int exif_orientation(const uint8_t *app1, size_t size);

#endif
