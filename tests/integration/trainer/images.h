// Small made-up images in two styles: soft heads (class "faces") and striped ones ("comics").
#ifndef INKLING_TESTS_TRAINER_IMAGES_H
#define INKLING_TESTS_TRAINER_IMAGES_H

#include "prep/prep.h"
#include "shard/shard.h"

#include <stdint.h>

// size × size gray pixels of image number n.
void images_draw(bool comic, uint32_t n, int size, uint8_t *pixels);

// A data set version of so many images a split, classes taking turns, in a folder that is made.
// classes: in the order of labels; "faces" are soft, all others striped, of another width each.
// File names: "<class>/<number>, \"x\".png".
void images_write(const char *folder, const char *const *classes, int class_count, int size,
                  const int per_split[SHARD_SPLIT_COUNT], char digest[DIGEST_HEX_SIZE]);

#endif
