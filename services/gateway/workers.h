// The threads that decode and those that compute. An image that is pushed comes back to the loop as
// mail, whatever becomes of it: classified, refused, expired or cancelled.
//
// There are as many lanes as cores, threads that compute each an image or a few; a lone large image
// gets a team of all cores. And there are as many threads that decode, of which only as many run as
// cores do not compute (decode_may_start), so that no more threads than cores are busy.
#ifndef INKLING_GATEWAY_WORKERS_H
#define INKLING_GATEWAY_WORKERS_H

#include "gateway/image.h"
#include "prep/prep.h"

#include <stddef.h>

typedef struct workers workers_t;

typedef struct {
    int threads;            // lanes, and threads that decode; 0: one per core this process may use
    int64_t batch_delay_us; // that an image may wait for others to fill its batch
    prep_limits_t limits;
} workers_options_t;

// prep_init() has been called.
err_code_t workers_new(mailbox_t *mailbox, const workers_options_t *options, workers_t **workers,
                       err_t *err);
// Ends the threads when they have finished what they are at; all else comes back as expired.
void workers_destroy(workers_t **workers);

// The image's engine (engine_t) must be built and stay until the image has come back.
void workers_push(workers_t *workers, image_t *const *images, size_t count);

size_t workers_lanes(const workers_t *workers); // images that are computed at once

typedef struct {
    size_t to_decode, to_compute;
} workers_depth_t;
workers_depth_t workers_depth(workers_t *workers); // images that wait

#endif
