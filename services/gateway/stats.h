// What the gateway counts.
#ifndef INKLING_GATEWAY_STATS_H
#define INKLING_GATEWAY_STATS_H

#include "base/err.h"
#include "metric/metric.h"

// X(type, field, name, labels, help)
#define GATEWAY_METRICS(X)                                                                         \
    X(COUNTER, requests, "inkling_gateway_requests_total", "", "Requests that were read.")         \
    X(COUNTER, images, "inkling_gateway_images_total", "", "Images that were classified.")         \
    X(COUNTER, loads, "inkling_gateway_loads_total", "", "Versions that were loaded.")             \
    X(HISTOGRAM, queue, "inkling_gateway_image_seconds", "part=\"queue\"",                         \
      "Time of a classified image in each part of its way.")                                       \
    X(HISTOGRAM, decode, "inkling_gateway_image_seconds", "part=\"decode\"", "")                   \
    X(HISTOGRAM, compute, "inkling_gateway_image_seconds", "part=\"compute\"", "")                 \
    X(HISTOGRAM, request, "inkling_gateway_request_seconds", "",                                   \
      "From the arrival of a request to its answer.")                                              \
    X(GAUGE, loaded, "inkling_gateway_models_loaded", "", "Versions in memory.")                   \
    X(GAUGE, memory, "inkling_gateway_models_bytes", "", "Memory of them, estimated.")             \
    X(GAUGE, served, "inkling_gateway_models_served", "", "Promoted models that are served.")      \
    X(GAUGE, failed, "inkling_gateway_models_failed", "",                                          \
      "Promoted versions and canaries that cannot be loaded.")                                     \
    X(GAUGE, open_requests, "inkling_gateway_open_requests", "", "Requests without an answer.")    \
    X(GAUGE, open_bytes, "inkling_gateway_open_bytes", "", "Memory that they hold.")               \
    X(GAUGE, to_decode, "inkling_gateway_queue_images", "queue=\"decode\"",                        \
      "Images that wait in a queue.")                                                              \
    X(GAUGE, to_compute, "inkling_gateway_queue_images", "queue=\"compute\"", "")

typedef struct {
    GATEWAY_METRICS(METRIC_FIELD)
    metric_counter_t errors[ERR_CODE_COUNT]; // of requests, and of single images
} stats_t;

void stats_error(stats_t *stats, err_code_t code);
void stats_render(const stats_t *stats, buf_t *out);

#endif
