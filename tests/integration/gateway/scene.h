// A gateway process, its dispatcher played by the test, models of random weights, and what they
// must answer.
#ifndef INKLING_TESTS_GATEWAY_SCENE_H
#define INKLING_TESTS_GATEWAY_SCENE_H

#include "client/client.h"
#include "nn/nn.h"
#include "registry.h"
#include "support/proc.h"

#define PATIENCE_MS 30000

typedef struct {
    char home[PROC_HOME_SIZE];
    char *dispatcher, *gateway; // endpoints
    registry_t *registry;       // a failed test leaves its thread behind, and what it uses
    proc_t proc;
    client_t *client;
    proto_arena_t *arena; // of the last answer
} scene_t;

// A home and an empty registry, which does not run yet.
void scene_open(scene_t *scene);
void scene_listen(scene_t *scene); // starts the registry
// Starts the gateway with more arguments, ended by NULL, or NULL.
void scene_gateway(scene_t *scene, const char *const *args);
void scene_await_ready(scene_t *scene);
void scene_close(scene_t *scene); // the gateway must end by itself, with exit code 0

// Writes and registers a model: size × size, gray or colour, random weights of the seed.
void scene_model(scene_t *scene, const char *name, uint64_t version, int size, int channels,
                 int classes);
void scene_model_of(scene_t *scene, const char *name, uint64_t version, const nn_vgg_t *vgg);
char *scene_model_file(const scene_t *scene, const char *name, uint64_t version, const char *file);

// Some image file, every index another one: JPEG or PNG, gray or colour, of several sizes.
// data is malloc'ed.
proto_bytes_t scene_image(const scene_t *scene, uint32_t index);
void scene_free_images(proto_bytes_t *images, size_t count);

// Asks and waits. The answer lives until the next one.
err_code_t scene_classify(scene_t *scene, const char *model, int64_t wait_ms,
                          const proto_bytes_t *images, size_t count, proto_classified_t *answer,
                          err_t *err);
err_code_t scene_ask(client_t *client, proto_arena_t *arena, const char *model, int64_t wait_ms,
                     const proto_bytes_t *images, size_t count, proto_classified_t *answer,
                     err_t *err);
// What that version must answer, computed here; probability < 0: prep refuses the image.
typedef struct {
    char label[32];
    float probability;
} expected_t;
expected_t scene_expected(const scene_t *scene, const char *name, uint64_t version,
                          proto_bytes_t image);
// Fails the test unless the answer is that.
void scene_check(const expected_t *expected, const char *name, uint64_t version,
                 const proto_classification_t *result);

// service.status of the gateway.
bool scene_ready(const scene_t *scene, char detail[1024]);
int64_t scene_rss(const scene_t *scene);      // bytes of the gateway's memory
int64_t scene_rss_anon(const scene_t *scene); // without what is mapped from files

#endif
