// The threads that compute: some decode, one runs the engines. An image that is pushed comes back
// to the loop as mail, whatever becomes of it: classified, refused or expired.
#ifndef INKLING_GATEWAY_WORKERS_H
#define INKLING_GATEWAY_WORKERS_H

#include "gateway/image.h"
#include "prep/prep.h"

#include <stddef.h>

typedef struct workers workers_t;

// threads: that decode; 0: one per core this process may use. prep_init() has been called.
err_code_t workers_new(mailbox_t *mailbox, int threads, const prep_limits_t *limits,
                       workers_t **workers, err_t *err);
// Ends the threads when they have finished what they are at; all else comes back as expired.
void workers_destroy(workers_t **workers);

// The image's engine (engine_t) must be built and stay until the image has come back.
void workers_push(workers_t *workers, image_t *const *images, size_t count);

typedef struct {
    size_t to_decode, to_compute;
} workers_depth_t;
workers_depth_t workers_depth(workers_t *workers); // images that wait

#endif
