// A request on its way, whatever door it came through: a version is found for it (it may be parked
// until one is loaded), its images are decoded and computed, its door answers.
//
// The door embeds a request_t, begins it, gives it its input and lets it go; from then on the
// request is the core's, until it is answered or refused, once, and ended, right behind that. All
// of that may happen before request_go returns.
#ifndef INKLING_GATEWAY_REQUEST_IMPL_H
#define INKLING_GATEWAY_REQUEST_IMPL_H

#include "gateway/catalog.h"
#include "gateway/image.h"

#include <stdatomic.h>

#define REQUEST_MODEL_MAX 96

typedef struct gateway gateway_t;
typedef struct request request_t;

typedef struct {
    void (*answer)(request_t *request); // every image is classified or refused
    void (*refuse)(request_t *request, const err_t *err);
    void (*end)(request_t *request); // frees it and its input
} door_t;

// Rows of pixels, one per image: [n][height][width][channels], as the model's recipe has them.
typedef struct {
    const void *data; // NULL: there is none; the door's
    size_t size;      // bytes
    bool is_float;    // FP32, normalised already; else UINT8
    bool shaped;      // shape is told and fits size; else whatever size says
    int64_t shape[4];
} tensor_t;

struct request {
    // the door's, to be set between request_begin and request_go
    gateway_t *gateway;
    const door_t *door;
    char model[REQUEST_MODEL_MAX + 1]; // NAME, NAME@VERSION or ""
    int64_t deadline_ms;               // clock_mono_ms(), 0: none
    int64_t wait_ms;                   // for a version to load
    uint8_t priority;                  // of image.h
    bool look;                         // only a version is wanted: no images
    bool no_version;                   // refused as its version cannot be served
    tensor_t tensor;                   // or images
    // for its answer
    version_t *version; // held, once the images are on their way
    image_t *images;
    size_t count;
    // the core's
    request_t *next; // while parked
    bool parked;
    int64_t received_us, parked_ms; // parked_ms: waits since
    uint64_t number;                // among all requests: what is chosen for it is chosen once
    enum { ASKED_NOTHING, ASKED_REFRESH, ASKED_SHOW } asked;
    uint64_t ticket;
    uint64_t charged; // bytes of the budget
    size_t charged_images;
    float *probabilities; // a row per image
    size_t missing;       // images that are not back yet
    atomic_bool cancelled;
};

// ERR_UNAVAILABLE: the gateway is going down; ERR_FULL: too much is on its way already. Then there
// is nothing to end.
err_code_t request_begin(request_t *request, gateway_t *gateway, const door_t *door, err_t *err);
// Counts memory (and images) that the door takes for it. ERR_FULL, ERR_TOO_LARGE.
err_code_t request_charge(request_t *request, size_t images, uint64_t bytes, err_t *err);
// Room for files; their images have been charged, and deadline and priority are set.
void request_images(request_t *request, size_t count);
// One of them, which stays the door's until the end. One that is too large or empty is refused by
// itself.
void request_file(request_t *request, size_t index, const void *data, size_t size);
void request_go(request_t *request);
// Instead of request_go: through the door's refuse and end, or through its end alone.
void request_refuse(request_t *request, const err_t *err);
void request_drop(request_t *request);
// Nobody waits any more for a request that was let go.
void request_cancel(request_t *request);

#endif
