// Bodies of the Open Inference Protocol, version 2, over HTTP: what a request to infer asks for,
// and its answer; tensors as JSON or, by the binary tensor extension, behind the JSON.
//
// Two kinds of models: one takes `pixels`, UINT8 or FP32, [n, height, width, channels]; its sibling
// takes `image`, BYTES [n], encoded image files. Both give `probabilities`, FP32 [n, classes], and
// `label`, BYTES [n]. Base64 stands for bytes in JSON.
//
// Pure: no I/O, no clock. What it reads stays the caller's and must outlive the request.
#ifndef INKLING_OIP_OIP_H
#define INKLING_OIP_OIP_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

#define OIP_ID_MAX   256
#define OIP_ROWS_MAX 65536 // rows of one request

typedef struct {
    const void *data;
    size_t size;
} oip_file_t;

typedef struct {
    bool wanted, binary;
    int64_t top; // of the classification extension: so many of the best classes; 0: without
} oip_output_t;

typedef struct {
    char id[OIP_ID_MAX + 1]; // "": none
    int64_t priority;        // as given, 0: none
    int64_t timeout_us;      // 0: none
    // pixels
    bool is_float;
    int64_t shape[4]; // [1] … [3] of pixels; [0]: rows, or files
    const void *tensor;
    size_t tensor_size;
    // images
    oip_file_t *files; // shape[0] of them
    oip_output_t probabilities, label;
    void *owned[2]; // oip_release frees them
} oip_request_t;

// Asked before memory is taken for what is made of the body.
typedef err_code_t (*oip_charge_fn)(void *arg, size_t bytes, err_t *err);

typedef struct {
    const char *body;
    size_t size;
    int64_t json_size; // of the JSON in front of binary tensors; < 0: all of it is JSON
    bool images;       // the model takes image, not pixels
    oip_charge_fn charge;
    void *arg;
} oip_body_t;

// ERR_INVALID names field and remedy. The request may be released whatever comes of it.
err_code_t oip_read(const oip_body_t *body, oip_request_t *request, err_t *err);
void oip_release(oip_request_t *request);

typedef struct {
    const char *model;
    uint64_t version;
    size_t rows, classes;
    const float *probabilities;     // rows × classes
    const char *const *class_names; // classes
    const int *labels;              // rows; NULL while label is not wanted
} oip_answer_t;

// Appends the answer's body. *json_size: as for a request; < 0: all of it is JSON.
void oip_write(const oip_request_t *request, const oip_answer_t *answer, buf_t *out,
               int64_t *json_size);

#endif
