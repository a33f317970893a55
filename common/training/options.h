// What a train job asks for, checked and in the engine's terms. Of precision and backend only the
// words: what they come to is the engine's.
#ifndef INKLING_TRAINING_OPTIONS_H
#define INKLING_TRAINING_OPTIONS_H

#include "base/err.h"
#include "proto/messages.h"

#include <stdint.h>

#define OPTIONS_SCHEDULES(X)                                                                       \
    X(CONSTANT, "constant")                                                                        \
    X(COSINE, "cosine")                                                                            \
    X(STEP, "step")

typedef enum {
#define X(schedule, word) SCHEDULE_##schedule,
    OPTIONS_SCHEDULES(X)
#undef X
        SCHEDULE_COUNT
} schedule_t;

// Of the augmentation; bits.
enum { AUGMENT_FLIP = 1, AUGMENT_SHIFT = 2 };

typedef struct {
    int epochs, batch, patience; // patience 0: never stop early
    double lr;
    uint64_t seed;
    schedule_t schedule;
    unsigned augment;   // bits
    bool weigh_classes; // by inverse frequency
    bool estimate_bn;   // false: evaluate with the moving statistics
    int64_t checkpoint_ms;
} options_t;

// ERR_INVALID names the field, and the words that are known.
err_code_t options_read(const proto_train_t *body, options_t *options, err_t *err);

// "none", or a list of flip and shift, separated by commas.
err_code_t options_augment(const char *text, unsigned *augment, err_t *err);

// "NAME" (version 0) or "NAME@VERSION". name must have PROTO_NAME_MAX + 1 bytes.
err_code_t options_reference(const char *text, char *name, uint64_t *version, err_t *err);

// Weight of each class's samples: images / (classes · images of the class), so that every class
// has the same say and the mean weight is 1. A class without images gets 1.
void options_class_weights(const int64_t *class_images, int classes, float *weights);

#endif
