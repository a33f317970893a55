// Which image comes next: the order of decoding and of computing, and how much may wait. Policy
// only: no threads, no clock, no I/O; callers lock.
#ifndef INKLING_GATEWAY_QUEUE_H
#define INKLING_GATEWAY_QUEUE_H

#include "gateway/image.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    image_t *first, *last;
    size_t count;
} image_list_t;

void image_list_push(image_list_t *list, image_t *image);
image_t *image_list_pop(image_list_t *list); // NULL when empty
bool image_is_cancelled(const image_t *image);

// --- Decoding: first come, first served, but for large images. Decoding one may take up to 8 bytes
// a pixel, so large ones that are being decoded have at most QUEUE_PIXELS_MAX pixels together, or
// there is but one.
#define QUEUE_LARGE_PIXELS (4u << 20)
#define QUEUE_PIXELS_MAX   (64u << 20)

typedef struct {
    image_list_t images;
    image_list_t large;  // found to be large, waiting until there is room
    uint64_t large_busy; // pixels of large ones being decoded
} decode_queue_t;

// The next image to decode, or NULL. Images whose deadline has passed, and cancelled ones, go to
// expired instead.
image_t *decode_queue_take(decode_queue_t *queue, int64_t now_ms, image_list_t *expired);
// An image just taken turns out to be large. True: decode it now. False: it waits in the queue.
bool decode_queue_large(decode_queue_t *queue, image_t *image, uint64_t area);
// A taken image is decoded, or given up. Another large one may have become free to take.
void decode_queue_done(decode_queue_t *queue, const image_t *image);

// --- Computing: the image that has waited longest, and with it those of the same engine that wait
// too, in their order, up to max. Images of different requests share a batch; those of different
// engines never do.
size_t compute_queue_take(image_list_t *queue, int64_t now_ms, size_t max, image_t **batch,
                          image_list_t *expired);

// --- How much may wait, of all requests together.
typedef struct {
    uint64_t bytes, bytes_max; // files, pixels and the records of images
    size_t images, images_max;
    size_t requests, requests_max;
} budget_t;

// ERR_TOO_LARGE: more than could ever be taken; ERR_FULL: more than is free now. Both name the
// limit.
err_code_t budget_take(budget_t *budget, size_t images, uint64_t bytes, err_t *err);
// More for a request that was taken; errors likewise.
err_code_t budget_grow(budget_t *budget, size_t images, uint64_t bytes, err_t *err);
void budget_give(budget_t *budget, size_t images, uint64_t bytes);

#endif
