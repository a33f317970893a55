// One image on its way: encoded bytes → decode queue → pixels → compute queue → a label.
//
// It belongs to whoever holds it: the loop, a queue, a thread. What belongs to the loop alone
// (owner) is not looked at elsewhere.
#ifndef INKLING_GATEWAY_IMAGE_H
#define INKLING_GATEWAY_IMAGE_H

#include "base/err.h"
#include "bus/mailbox.h"

#include <stdint.h>

typedef enum { IMAGE_WAITING, IMAGE_CLASSIFIED, IMAGE_REFUSED, IMAGE_EXPIRED } image_state_t;

typedef struct image {
    mail_t mail;         // brings it back to the loop
    struct image *next;  // in a queue
    void *owner;         // the loop's
    const void *engine;  // the model version that the whole request was given to
    int64_t deadline_ms; // clock_mono_ms(); 0: none. Past it nothing more is computed
    void *bytes;         // the file; freed when it is decoded
    size_t size;
    uint64_t area;   // width × height of a large one, once it is known to be one
    uint8_t *pixels; // prep_recipe_bytes of the engine's recipe
    image_state_t state;
    int label;
    float probability;
    err_t *err;         // of a refused one; malloc'ed
    int64_t entered_us; // clock_mono_us() of its entry into the present queue
    int64_t queue_us, decode_us, compute_us;
} image_t;

#endif
