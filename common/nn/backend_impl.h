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
    char precision[8]; // before resolve as in the options ("auto" …), "fp32" or "bf16" after it
    char isa[16];      // before resolve nn_isa(), after it what the backend uses
    char more[256];    // further "key=value" pairs of the backend for nn_choices, or empty
    bool exact;        // cleared when stored choices could not be honoured
} nn_plan_t;

// Worst first.
#define NN_ISAS(X)                                                                                 \
    X(GENERIC, "generic")                                                                          \
    X(AVX2, "avx2")                                                                                \
    X(AVX512, "avx512")                                                                            \
    X(AMX, "amx")

typedef enum {
#define X(isa, word) NN_ISA_##isa,
    NN_ISAS(X)
#undef X
} nn_isa_t;

// False for a word that is none of the above.
bool nn_isa_parse(const char *word, nn_isa_t *isa);

// Images that nn_bn_estimate normalises together.
#define NN_ESTIMATE_CHUNK 32

// The value of key in stored choices ("key=value key=value"); false if stored is NULL or lacks it,
// or the value does not fit.
bool nn_choice(const char *stored, const char *key, char *value, size_t size);

// A dropout element is kept if its random word is at least this: rate·2^32, rounded up.
static inline uint32_t nn_dropout_threshold(float rate) {
    double exact = (double)rate * 0x1p32;
    uint32_t whole = (uint32_t)exact;
    return whole + (whole < exact);
}

// Memory for predictions, see nn.h.
struct nn_workspace {
    void *memory; // aligned as vectors want it; for free()
    uint64_t size;
};

typedef struct {
    const char *name;
    // Settles precision, isa and threads (stored: the choices "key=value …", or NULL). The front
    // has settled threads (≥ 1) already, from options, stored choices and cores; a backend may
    // lower it. What the options say goes before what is stored; stored choices that cannot be
    // taken over are no error. The front compares the outcome with stored and clears `exact` if
    // they differ.
    err_code_t (*resolve)(nn_plan_t *plan, const char *stored, err_t *err);
    // plan outlives the backend's object.
    err_code_t (*create)(const nn_plan_t *plan, void **self, err_t *err);
    void (*destroy)(void *self); // accepts half-built objects
    uint64_t (*memory)(const nn_plan_t *plan);
    err_code_t (*get)(void *self, nn_part_t part, int tensor, float *data, err_t *err);
    err_code_t (*set)(void *self, nn_part_t part, int tensor, const float *data, err_t *err);
    // replicas: NULL or with a world of at least 2; only then batch->count may be 0. result is this
    // rank's: the front adds it up. See replicas_impl.h.
    err_code_t (*step)(void *self, const nn_batch_t *batch, uint64_t step, const nn_adam_t *adam,
                       const nn_replicas_t *replicas, nn_result_t *result, err_t *err);
    err_code_t (*bn_estimate)(void *self, const uint8_t *pixels, int64_t count,
                              const nn_replicas_t *replicas, err_t *err);
    void (*use_moving)(void *self);
    // workspace: NULL for the object's own; an object that shares always gets one.
    err_code_t (*predict)(void *self, nn_workspace_t *workspace, const nn_sample_t *samples,
                          int count, err_t *err);
    // From now on the object is only shared: it folds and packs its weights and frees all else.
    err_code_t (*seal)(void *self, err_t *err);
    // Another object with the weights of a sealed one; plan as in create.
    err_code_t (*share)(void *self, const nn_plan_t *plan, void **shared, err_t *err);
} nn_backend_t;

extern const nn_backend_t nn_backend_ref;
extern const nn_backend_t nn_backend_cpu; // oneDNN; absent from builds without it

// By name; "auto" is the first of the list that this build has. NULL if there is none.
const nn_backend_t *nn_backend_find(const char *name);
// True, and in err (ERR_UNSUPPORTED) why, if the backend is known but cannot be used here.
bool nn_backend_why(const char *name, err_t *err);

#endif
