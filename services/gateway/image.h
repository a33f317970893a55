// One image on its way: encoded bytes → decode queue → pixels → compute queue → probabilities. One
// that comes as pixels or as input enters the compute queue.
//
// It belongs to whoever holds it: the loop, a queue, a thread. What belongs to the loop alone
// (owner) is not looked at elsewhere.
#ifndef INKLING_GATEWAY_IMAGE_H
#define INKLING_GATEWAY_IMAGE_H

#include "base/err.h"
#include "bus/mailbox.h"

#include <stdatomic.h>
#include <stdint.h>

typedef enum {
    IMAGE_WAITING,
    IMAGE_CLASSIFIED,
    IMAGE_REFUSED,
    IMAGE_EXPIRED,   // its deadline passed before it was computed
    IMAGE_CANCELLED, // nobody wanted it any more before it was computed
} image_state_t;

typedef struct image {
    mail_t mail;         // brings it back to the loop
    struct image *next;  // in a queue
    void *owner;         // the loop's
    const void *engine;  // the model version that the whole request was given to
    int64_t deadline_ms; // clock_mono_ms(); 0: none. Past it nothing more is computed
    // NULL, or the owner's: once it is true nothing more is computed. Stays until the image is
    // back.
    const atomic_bool *cancelled;
    int64_t need_us; // and nothing is begun that would end behind it: so long it takes, as expected
    int64_t cost_us; // the owner's: of its backlog
    uint8_t priority;  // 1 is computed before 2, and 2 before 3; 0 means 2
    const void *bytes; // the owner's: the file, or NULL
    size_t size;
    uint64_t area;        // width × height of a large one, once it is known to be one
    uint8_t *decoded;     // what decoding made; freed when it is computed
    const void *pixels;   // prep_recipe_bytes of the engine's recipe: decoded, or the owner's
    const void *input;    // or the owner's, as many floats (no alignment), normalised already
    float *probabilities; // the owner's room for one per class
    image_state_t state;
    int label;          // the most probable class, of equal ones the first
    err_t *err;         // of a refused one; malloc'ed
    int64_t entered_us; // clock_mono_us() of its entry into the present queue
    int64_t queue_us, decode_us, compute_us;
    int64_t computed_us; // clock_mono_us() when that was done
    int batch;           // images that were computed with it in compute_us, itself included
} image_t;

#endif
