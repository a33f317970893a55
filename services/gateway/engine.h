// A model version in memory: opened and checked first, which tells how much memory it will take,
// then built. Each call may come from another thread, one at a time; after engine_build everything
// but engine_classify only reads and may come from any thread at any time.
//
// It computes in lanes: as many images at once as there are lanes, each on one core, with the same
// weights. Where one image is large enough to be shared out, a team of all cores computes it alone.
#ifndef INKLING_GATEWAY_ENGINE_H
#define INKLING_GATEWAY_ENGINE_H

#include "gateway/image.h"
#include "gateway/pace.h"
#include "nn/nn.h"
#include "prep/prep.h"

#include <stdbool.h>

#define ENGINE_BATCH_MAX 8 // images that a lane computes at once
#define ENGINE_LANES_MAX 64
#define ENGINE_TEAM      (-1)

typedef struct engine engine_t;

// Lanes for a number of threads; 0: one per core this process may use.
int engine_lanes(int threads);

// folder of the version; digest as registered, or "". Reads and checks the whole of it.
// threads: as in engine_lanes.
err_code_t engine_open(const char *folder, const char *digest, int threads, engine_t **engine,
                       err_t *err);
// A descriptor that is kept open as long as the engine is there; -1: none.
void engine_keep(engine_t *engine, int fd);
uint64_t engine_memory(const engine_t *engine); // estimate in bytes of a built one
err_code_t engine_build(engine_t *engine, err_t *err);
// Computes an image, so that nobody's request is the first one: memory is there, code is made. What
// comes out is of no interest.
err_code_t engine_warm(engine_t *engine, err_t *err);
void engine_destroy(engine_t **engine); // allows *engine == NULL

const prep_recipe_t *engine_recipe(const engine_t *engine);
int engine_class_count(const engine_t *engine);
const char *const *engine_classes(const engine_t *engine);
const char *engine_class(const engine_t *engine, int label);
const char *engine_choices(const engine_t *engine);
pace_t *engine_pace(engine_t *engine); // of its batches; the loop's, who keeps it
bool engine_has_team(const engine_t *engine);
size_t engine_batch_max(const void *engine); // of an engine_t: images worth computing at once

// Computes 1 … ENGINE_BATCH_MAX images, from their pixels or input. lane: 0 … engine_lanes() − 1,
// each used by one thread at a time, or ENGINE_TEAM for one image, by one thread at a time and
// always the same (its helpers are its own). workspace: of the calling thread. Writes each image's
// probabilities and label; they depend on the image alone. A label of −1: the model's numbers
// overflow for this image.
err_code_t engine_classify(engine_t *engine, int lane, nn_workspace_t *workspace,
                           image_t *const *images, int count, err_t *err);

#endif
