// Which image comes next: the order of decoding and of computing, and how much may wait. Policy
// only: no threads, no clock, no I/O; callers lock. Times are of one monotonic clock, in µs.
//
// Order: an image of priority p stands in line as if it had come (p − 1) · QUEUE_AGING_US later. So
// 1 goes before 2 and 2 before 3, equal ones in the order they came, and none starves: what comes
// QUEUE_AGING_US later per step of priority no longer overtakes.
#ifndef INKLING_GATEWAY_QUEUE_H
#define INKLING_GATEWAY_QUEUE_H

#include "gateway/image.h"

#include <stdbool.h>
#include <stddef.h>

#define QUEUE_PRIORITIES 3
#define QUEUE_AGING_US   5000000

typedef struct {
    image_t *first, *last;
    size_t count;
} image_list_t;

void image_list_push(image_list_t *list, image_t *image);
image_t *image_list_pop(image_list_t *list); // NULL when empty
bool image_is_cancelled(const image_t *image);

// Images in their order; entered_us tells when one came.
typedef struct {
    image_list_t priorities[QUEUE_PRIORITIES];
    size_t count;
} image_line_t;

void image_line_push(image_line_t *line, image_t *image);
// The next image, or NULL. Images that would miss their deadline, and cancelled ones, go to expired
// instead.
image_t *image_line_take(image_line_t *line, int64_t now_us, image_list_t *expired);

// --- Decoding: in order, but for large images. Decoding one may take up to 8 bytes a pixel, so
// large ones that are being decoded have at most QUEUE_PIXELS_MAX pixels together, or there is but
// one.
#define QUEUE_LARGE_PIXELS (4u << 20)
#define QUEUE_PIXELS_MAX   (64u << 20)

typedef struct {
    image_line_t images;
    image_list_t large;  // found to be large, waiting until there is room
    uint64_t large_busy; // pixels of large ones being decoded
} decode_queue_t;

// The next image to decode, or NULL. Images that would miss their deadline, and cancelled ones, go
// to expired instead.
image_t *decode_queue_take(decode_queue_t *queue, int64_t now_us, image_list_t *expired);
// An image just taken turns out to be large. True: decode it now. False: it waits in the queue.
bool decode_queue_large(decode_queue_t *queue, image_t *image, uint64_t area);
// A taken image is decoded, or given up. Another large one may have become free to take.
void decode_queue_done(decode_queue_t *queue, const image_t *image);

// Whether one more may be decoded while so many are and so many cores compute. Computing goes
// first: what is decoded then only waits. But a core's worth of decoding always goes on, so that
// images that come computed by others' clients do not shut out those that must be decoded.
bool decode_may_start(size_t cores, size_t computing, size_t decoding);

// --- Computing: a line per engine; of those whose time has come, the one whose head is first in
// order. Images of different requests share a batch; those of different engines never do.
typedef struct {
    const void *engine;
    image_line_t images;
} compute_group_t;

typedef struct {
    size_t (*batch_max)(const void *engine); // images it computes at once
    int64_t delay_us;                        // that one may wait for others to fill a batch
    size_t lanes;                            // that compute side by side and share what waits
    compute_group_t *groups;                 // only those in which images wait
    size_t group_count, group_room, count;
} compute_queue_t;

void compute_queue_push(compute_queue_t *queue, image_t *image);
// The next batch for one lane, in order: at most batch_max, and no more than its share of what
// waits for that engine. 0: none now; *until_us: when there will be one if nothing more comes, or
// INT64_MAX. Images that would miss their deadline, and cancelled ones, go to expired instead.
size_t compute_queue_take(compute_queue_t *queue, int64_t now_us, image_t **batch,
                          image_list_t *expired, int64_t *until_us);
// All that waits goes to list.
void compute_queue_empty(compute_queue_t *queue, image_list_t *list);

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
void budget_give(budget_t *budget, size_t images, uint64_t bytes); // at the request's end
void budget_shrink(budget_t *budget, uint64_t bytes);              // what budget_grow took

#endif
