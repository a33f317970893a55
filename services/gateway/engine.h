// A model version in memory: opened and checked first, which tells how much memory it will take,
// then built. Each call may come from another thread, one at a time; after engine_build everything
// but engine_classify only reads and may come from any thread at any time.
#ifndef INKLING_GATEWAY_ENGINE_H
#define INKLING_GATEWAY_ENGINE_H

#include "base/err.h"
#include "prep/prep.h"

#define ENGINE_BATCH_MAX 16 // images that are computed at once

typedef struct engine engine_t;

// folder of the version; digest as registered, or "". Reads and checks the whole of it.
// threads: of the engine, 0: all cores.
err_code_t engine_open(const char *folder, const char *digest, int threads, engine_t **engine,
                       err_t *err);
// A descriptor that is kept open as long as the engine is there; -1: none.
void engine_keep(engine_t *engine, int fd);
uint64_t engine_memory(const engine_t *engine); // estimate in bytes of a built one
err_code_t engine_build(engine_t *engine, err_t *err);
void engine_destroy(engine_t **engine); // allows *engine == NULL

const prep_recipe_t *engine_recipe(const engine_t *engine);
int engine_class_count(const engine_t *engine);
const char *const *engine_classes(const engine_t *engine);
const char *engine_class(const engine_t *engine, int label);
const char *engine_choices(const engine_t *engine);

// pixels[i]: prep_recipe_bytes of image i, 1 … ENGINE_BATCH_MAX of them. Writes the probability of
// every class to probabilities[i] and the most probable label (of equal ones the first) to labels;
// they do not depend on the batch. A label of −1: the model's numbers overflow for this image.
err_code_t engine_classify(engine_t *engine, const uint8_t *const *pixels, int count,
                           float *const *probabilities, int *labels, err_t *err);

#endif
