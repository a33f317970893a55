// What a backend must do. A backend is a const vtable; backends.c holds the only list of them. The
// engine's front (nn.c) has already checked every argument; a backend compiles the layer list into
// a plan of its own and may fuse and lay out as it likes, as long as get/set speak the canonical
// form of spec.h and the random numbers are those of nn.h.
#ifndef INKLING_NN_BACKEND_IMPL_H
#define INKLING_NN_BACKEND_IMPL_H

#include "nn/nn.h"

// What was resolved for a handle. The front fills it from the options, the backend's resolve()
// completes it.
typedef struct {
    nn_spec_t spec;
    nn_shape_t shapes[NN_LAYERS_MAX];
    nn_tensor_t tensors[NN_TENSORS_MAX];
    int tensor_count;
    int max_batch, threads;
    bool training;
    uint64_t seed;
    float mean[4];
    char precision[8]; // "fp32" or "bf16" after resolve
    char isa[16];
    bool exact; // cleared when stored choices could not be honoured
} nn_plan_t;

typedef struct {
    const char *name;
    // Settles precision, isa and threads (stored: the parsed choices "key=value …", or NULL).
    err_code_t (*resolve)(nn_plan_t *plan, const char *stored, err_t *err);
    // plan outlives the backend's object.
    err_code_t (*create)(const nn_plan_t *plan, void **self, err_t *err);
    void (*destroy)(void *self); // accepts half-built objects
    uint64_t (*memory)(const nn_plan_t *plan);
    err_code_t (*get)(void *self, nn_part_t part, int tensor, float *data, err_t *err);
    err_code_t (*set)(void *self, nn_part_t part, int tensor, const float *data, err_t *err);
    err_code_t (*step)(void *self, const nn_batch_t *batch, uint64_t step, const nn_adam_t *adam,
                       nn_reduce_fn reduce, void *reduce_arg, nn_result_t *result, err_t *err);
    err_code_t (*bn_estimate)(void *self, const uint8_t *pixels, int64_t count, err_t *err);
    void (*use_moving)(void *self);
    err_code_t (*predict)(void *self, const uint8_t *pixels, int count, float *probabilities,
                          err_t *err);
} nn_backend_t;

extern const nn_backend_t nn_backend_ref;
extern const nn_backend_t nn_backend_cpu; // oneDNN; absent from builds without it

// By name; "auto" is the first of the list that this build has. NULL if there is none.
const nn_backend_t *nn_backend_find(const char *name);

#endif
